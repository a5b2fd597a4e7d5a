"""Axial slices that hold nothing, or the same as the one before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int16

from tomoseg.checks.values import NOT_AIR_HU
from tomoseg.notices import Notice
from tomoseg.volume import Volume

LEAST_TISSUE = 0.1
"""Slices with less than this part of the fullest one's tissue are beyond the patient: pieces of a table, say."""

_LISTED = 5


@dataclass(frozen=True)
class PlaneFacts:
    """Which axial slices are odd, counted from 1 at the feet.

    Attributes:
        blank_ends: Slices of one value beyond the patient; many scans have such.
        blank: Slices of one value between others of the patient.
        repeated: Slices that are the one below to the last voxel.
    """

    blank_ends: int
    blank: tuple[int, ...]
    repeated: tuple[int, ...]


def plane_facts(volume: Volume, thin: Int16[np.ndarray, "z n"]) -> tuple[PlaneFacts, tuple[Notice, ...]]:
    """Look for slices that cannot be as they were scanned.

    Args:
        volume: The scan.
        thin: A sample of each of its slices, a row a slice.
    """
    maybe = (thin == thin[:, :1]).all(axis=1)
    blank = np.array([bool(odd) and _is_blank(volume.hu[:, :, k]) for k, odd in enumerate(maybe)])
    repeated = _repeated(volume, thin, blank)
    tissue = (thin > NOT_AIR_HU).sum(axis=1) * ~blank
    varied = np.flatnonzero(~blank & (tissue >= LEAST_TISSUE * tissue.max()))
    if varied.size == 0:
        return PlaneFacts(len(blank), (), ()), ()
    between = tuple(int(k) + 1 for k in np.flatnonzero(blank) if varied[0] < k < varied[-1])
    facts = PlaneFacts(int(blank.sum()) - len(between), between, repeated)
    notices = []
    if between:
        text = (
            f"{len(between)} slices between others hold one value only (number {_listed(between)} from the feet), "
            "tissue was expected. Slices were lost: export the scan again."
        )
        notices.append(Notice(text, "blank slices"))
    if repeated:
        text = (
            f"{len(repeated)} slices are the one below them to the last voxel (number {_listed(repeated)} from the "
            "feet), other noise was expected. Slices were copied in place of missing ones, or the scan was stretched: "
            "export it again."
        )
        notices.append(Notice(text, "repeated slices"))
    return facts, tuple(notices)


def _is_blank(plane: Int16[np.ndarray, "x y"]) -> bool:
    return bool((plane == plane[0, 0]).all())


def _repeated(volume: Volume, thin: Int16[np.ndarray, "z n"], blank: Bool[np.ndarray, " z"]) -> tuple[int, ...]:
    maybe = np.flatnonzero((thin[1:] == thin[:-1]).all(axis=1) & ~blank[1:]) + 1
    return tuple(int(k) + 1 for k in maybe if np.array_equal(volume.hu[:, :, k], volume.hu[:, :, k - 1]))


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    return shown if len(numbers) <= _LISTED else f"{shown}, ..."
