"""Checks for swapped left and right structures, and for scans that are mirrored with or without their masks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from tomoseg.checks.facts import CaseFacts, StructureFacts
from tomoseg.checks.findings import LEAST_CASES, Finding, RobustStats
from tomoseg.checks.scan import AXES
from tomoseg.labels import side_of

CLEAR_MM = 8.0
"""Minimum distance in mm of two structures along an axis for them to show its direction."""

CLEAR_SPREADS = 2.0
"""Minimum distance of two structures in spreads of that distance for them to show the axis's direction."""

LEAST_EVIDENCE = 0.01
"""Minimum gain in log-likelihood, in nats per voxel, of mirroring a scan under its masks."""


def side_findings(cases: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases whose left and right structures are swapped. Each case is judged alone.

    Args:
        cases: All cases of the dataset.
    """
    findings = []
    for case in cases:
        pairs = _pairs(case)
        wrong = [pair for pair in pairs if _middle(case, pair[0], 0) > _middle(case, pair[1], 0)]
        if len(wrong) > 1 and len(wrong) == len(pairs):
            text = (
                f"All {len(wrong)} left structures lie to the right of their right counterparts. The scan is "
                "mirrored, or its orientation is wrong: correct the header, or export it again."
            )
            findings.append(Finding.error("mirrored", text, case.name))
            continue
        for left, right in wrong:
            distance = _middle(case, left, 0) - _middle(case, right, 0)
            text = (
                f"{left} lies {distance:.0f} mm to the right of {right}; expected on the patient's left. The "
                "two are swapped, or the scan is mirrored: swap the masks, or correct the orientation."
            )
            findings.append(Finding.error("left and right swapped", text, case.name, left))
    return findings


def direction_findings(cases: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases whose structures are in the opposite order along y or z to the other cases.

    Args:
        cases: All cases of the dataset.
    """
    known = _directions(cases)
    findings = []
    for case in cases:
        votes = {axis: [0, 0] for axis in (1, 2)}
        for (one, other, axis), sign in known.items():
            if case.has(one) and case.has(other):
                step = _middle(case, other, axis) - _middle(case, one, axis)
                votes[axis][int(step * sign < 0)] += 1
        for axis, (alike, against) in votes.items():
            if against > alike:
                text = (
                    f"{against} of {alike + against} pairs of structures lie the other way round from {AXES[axis]} "
                    "than in the other cases. The scan and its masks are mirrored: correct its orientation."
                )
                findings.append(Finding.error("mirrored", text, case.name))
    return findings


def image_findings(cases: Sequence[CaseFacts]) -> list[Finding]:
    """Find cases whose masks would fit the scan much better if it, but not they, were mirrored.

    The fit is judged by the HU inside of each structure in all other cases.

    Args:
        cases: All cases of the dataset.
    """
    gains = _mirror_gains(cases)
    if not gains:
        return []
    usual = [RobustStats.of(along) for along in np.array(list(gains.values())).T]
    findings = []
    for name, gain in gains.items():
        axis = int(gain.argmax())
        tells = usual[axis].middle + usual[axis].spread < 0  # not along an axis in which bodies are symmetric
        if tells and gain[axis] > LEAST_EVIDENCE:
            text = (
                "The scan inside the masks would look more like the other cases if it were mirrored from "
                f"{AXES[axis]}. The scan and the masks do not belong together: export both again from the same "
                "source."
            )
            findings.append(Finding.error("scan mirrored under its masks", text, name))
    return findings


def _mirror_gains(cases: Sequence[CaseFacts]) -> dict[str, Float64[np.ndarray, "3"]]:
    """Return for each case the gain in log-likelihood from mirroring the scan along each axis, in nats per voxel."""
    totals: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for case in cases:
        for name, facts in _held(case):
            totals[name] = totals.get(name, 0) + facts.histograms[0] / facts.voxels
            counts[name] = counts.get(name, 0) + 1
    gains = {}
    for case in cases:
        fits = []  # one per structure, whatever its size: a single wrong mask may be larger than all others
        for name, facts in _held(case):
            if counts[name] >= LEAST_CASES:
                others = totals[name] - facts.histograms[0] / facts.voxels + 1e-3
                fits.append(facts.histograms @ np.log(others / others.sum()) / facts.voxels)
        if fits:
            mean = np.mean(fits, axis=0)
            gains[case.name] = mean[1:] - mean[0]
    return gains


def _held(case: CaseFacts) -> list[tuple[str, StructureFacts]]:
    return [(name, facts) for name, facts in case.structures.items() if facts.voxels]


def _directions(cases: Sequence[CaseFacts]) -> dict[tuple[str, str, int], float]:
    """Return the direction, 1 or -1, from one structure to another along y and z, for pairs in which it is clear."""
    names = sorted({name for case in cases for name in case.structures})
    known = {}
    for one, other in combinations(names, 2):
        both = [case for case in cases if case.has(one) and case.has(other)]
        for axis in (1, 2) if len(both) >= LEAST_CASES else ():
            steps = RobustStats.of(_steps(both, one, other, axis))
            if abs(steps.middle) > max(CLEAR_MM, CLEAR_SPREADS * steps.spread):
                known[one, other, axis] = float(np.sign(steps.middle))
    return known


def _steps(cases: Sequence[CaseFacts], one: str, other: str, axis: int) -> Float64[np.ndarray, " n"]:
    """Return the distance from the centre of one structure to that of another in each case, in mm."""
    return np.array([_middle(case, other, axis) - _middle(case, one, axis) for case in cases])


def _pairs(case: CaseFacts) -> list[tuple[str, str]]:
    """Return the left structures with their right ones, if both have voxels."""
    found = []
    for name in case.structures:
        side = side_of(name)
        if side is not None and side[0] == "left" and case.has(name) and case.has(side[1]):
            found.append((name, side[1]))
    return found


def _middle(case: CaseFacts, name: str, axis: int) -> float:
    return case.structures[name].middle_mm[axis]
