"""Axial slices that hold nothing, or the same as the one before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int16

from tomoseg.checks.values import NOT_AIR_HU
from tomoseg.notices import Notice
from tomoseg.volume import Volume

LEAST_TISSUE = 0.1
"""Slices with less than this part of the fullest one's tissue are beyond the patient: pieces of a table, say."""

LEAST_STEP_HU, AROUND_STEP_HU, STEP_SHARE = 200, 150, 0.6
"""Everything of a slice, air and tissue, is brighter or darker than the slice below by about so much: so large a share
of the voxels that hold no padding in either. Anatomy changes a part of them."""

_LEAST_SEEN = 0.05
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
    stepped = _of_steps(_steps(thin))
    varied = np.flatnonzero(~blank & (tissue >= LEAST_TISSUE * tissue.max()))
    if varied.size == 0:
        return PlaneFacts(len(blank), (), ()), stepped
    between = tuple(int(k) + 1 for k in np.flatnonzero(blank) if varied[0] < k < varied[-1])
    facts = PlaneFacts(int(blank.sum()) - len(between), between, repeated)
    notices = [*stepped]
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


def _steps(thin: Int16[np.ndarray, "z n"]) -> dict[int, int]:
    """By how much all of a slice differs from the slice below, by the number of the slice from 1, where it does."""
    lowest = thin.min()
    found = {}
    for number, (below, above) in enumerate(pairwise(thin.astype(np.int32)), 2):
        seen = (below != lowest) & (above != lowest)
        if np.count_nonzero(seen) < _LEAST_SEEN * seen.size:
            continue
        change = (above - below)[seen]
        shift = int(np.median(change))
        if abs(shift) >= LEAST_STEP_HU and np.mean(np.abs(change - shift) <= AROUND_STEP_HU) >= STEP_SHARE:
            found[number] = shift
    return found


def _of_steps(found: dict[int, int]) -> tuple[Notice, ...]:
    if not found:
        return ()
    where = ", ".join(f"{number} by about {round(shift, -1):+d}" for number, shift in list(found.items())[:_LISTED])
    text = (
        f"All of some slices is brighter or darker than the slice below (number {where}"
        f"{', ...' if len(found) > _LISTED else ''} HU, counted from the feet), air and tissue alike. The rescale "
        "intercept of single slices is wrong or was not applied: export the scan again."
    )
    return (Notice(text, "uneven HU"),)


def _is_blank(plane: Int16[np.ndarray, "x y"]) -> bool:
    return bool((plane == plane[0, 0]).all())


def _repeated(volume: Volume, thin: Int16[np.ndarray, "z n"], blank: Bool[np.ndarray, " z"]) -> tuple[int, ...]:
    maybe = np.flatnonzero((thin[1:] == thin[:-1]).all(axis=1) & ~blank[1:]) + 1
    return tuple(int(k) + 1 for k in maybe if np.array_equal(volume.hu[:, :, k], volume.hu[:, :, k - 1]))


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    return shown if len(numbers) <= _LISTED else f"{shown}, ..."
