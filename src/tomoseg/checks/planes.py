"""Axial slices that are blank, repeated, or shifted in HU."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int16

from tomoseg.checks.values import NOT_AIR_HU
from tomoseg.errors import counted
from tomoseg.language.words import part
from tomoseg.notices import Notice
from tomoseg.volume import Volume

LEAST_TISSUE = 0.1
"""Minimum tissue of a slice of the patient, as a share of the slice with the most; others show the table, say."""

LEAST_STEP_HU, AROUND_STEP_HU, STEP_SHARE = 200, 150, 0.6
"""Criteria for a shift of a whole slice against the one below, air and tissue alike: minimum shift, tolerance, and
minimum share of the voxels (without padding) within the tolerance. Anatomy changes only a part of them."""

_LEAST_SEEN = 0.05
_LISTED = 5


@dataclass(frozen=True)
class PlaneFacts:
    """Unusual axial slices, numbered from 1 at the feet.

    Attributes:
        blank_ends: Number of slices of one value beyond the patient, which many scans have.
        blank: Slices of one value between slices of the patient.
        repeated: Slices that are identical to the one below.
    """

    blank_ends: int
    blank: tuple[int, ...]
    repeated: tuple[int, ...]


def plane_facts(volume: Volume, thin: Int16[np.ndarray, "z n"]) -> tuple[PlaneFacts, tuple[Notice, ...]]:
    """Look for slices that cannot be as they were scanned.

    Args:
        volume: The scan.
        thin: `(z, n)`, a sample of the voxels of each slice (see `thin_slices`).
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
            f"{counted(len(between), 'slice between others has', 'slices between others have')} a single value "
            f"(number {_listed(between)} from the feet); expected tissue. Slices were lost: export the scan again."
        )
        notices.append(Notice(text, "blank slices"))
    if repeated:
        text = (
            f"{counted(len(repeated), 'slice is', 'slices are')} identical to the slice below "
            f"(number {_listed(repeated)} from the feet); expected different noise. Missing slices were replaced by "
            "copies, or the scan was stretched: export it again."
        )
        notices.append(Notice(text, "repeated slices"))
    return facts, tuple(notices)


def _steps(thin: Int16[np.ndarray, "z n"]) -> dict[int, int]:
    """Return the shift in HU of each slice that is shifted against the one below, by its number from 1."""
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
    shown = list(found.items())[:_LISTED]
    where = ", ".join(part(f"{number} by about {round(shift, -1):+d}") for number, shift in shown)
    text = (
        f"Some slices are brighter or darker throughout than the slice below (number {where}"
        f"{', ...' if len(found) > _LISTED else ''} HU, counted from the feet), in air and tissue alike. The rescale "
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
