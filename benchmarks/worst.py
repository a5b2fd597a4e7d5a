"""Analysis of bad masks: where the voxels went, in words, and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt16

from tomoseg import Prediction, Volume
from tomoseg.datasets.mask_cases import OpenMasks
from tomoseg.pictures.finding import draw_finding
from tomoseg.pictures.structure_names import readable

MARGIN_MM = 50.0
"""Margin in mm shown around the masks."""
LEAST_SHARE = 0.1
"""Minimum share of a structure's voxels for another structure to be named."""

MISSED, SWAPPED, SPILLED = "missed", "taken for another", "spilled"


@dataclass(frozen=True)
class Fault:
    """Distribution of the voxels of a structure.

    Attributes:
        reference: Voxels of the reference.
        found: Voxels of the mask.
        as_others: Share of the reference that others have and the structure has not, by their name.
        of_others: Share of the mask that belongs to others by the reference, by their name.
        missed: Share of the reference that no mask has.
        spilled: Share of the mask that lies where the reference has nothing.
    """

    reference: int
    found: int
    as_others: dict[str, float]
    of_others: dict[str, float]
    missed: float
    spilled: float

    @property
    def kind(self) -> str:
        """Kind of most of the wrong voxels."""
        swapped = max(sum(self.as_others.values()) * self.reference, sum(self.of_others.values()) * self.found)
        wrong = {MISSED: self.missed * self.reference, SWAPPED: swapped, SPILLED: self.spilled * self.found}
        return max(wrong, key=lambda one: wrong[one])

    def __str__(self) -> str:
        named = [f"{share:.0%} as {name}" for name, share in _large(self.as_others)]
        of = [f"{share:.0%} of the mask is {name}" for name, share in _large(self.of_others)]
        return ", ".join([*named, f"{self.missed:.0%} missed", *of, f"{self.spilled:.0%} of the mask is nothing's"])


class Faults:
    """The structure of each voxel, by the reference and by a model.

    Args:
        found: The model's masks; in overlaps the last structure counts.
        references: The reference masks.
    """

    def __init__(self, found: Prediction, references: OpenMasks) -> None:
        self._found, self._references = found, references
        self._names = found.labels.names
        self._mine, self._given = (np.zeros(references.grid.canonical_shape, np.uint16, order="F") for _ in range(2))
        for number, name in enumerate(self._names, start=1):
            self._mine[found.mask(name)] = number
            if name in references.case.annotated:
                expected = references.mask(name)
                self._given[expected.box][expected.inside] = number

    def of(self, name: str) -> Fault:
        """Return the distribution of the voxels of a structure."""
        mask, expected = self._found.mask(name), self._references.mask(name).whole()
        there, here = self._shares(self._mine, expected & ~mask, expected), self._shares(self._given, mask, mask)
        here.pop(name, None)
        return Fault(int(expected.sum()), int(mask.sum()), there, here, there.pop("", 0.0), here.pop("", 0.0))

    def as_one(self, names: Sequence[str]) -> str:
        """Return as text the score of structures merged into one, and where their voxels went."""
        numbers = [self._names.index(name) + 1 for name in names]
        mine, given = np.isin(self._mine, numbers), np.isin(self._given, numbers)
        both = int((mine & given).sum())
        right = int((mine & (self._mine == self._given)).sum())
        there = max(1, int(given.sum()))
        dice = 2 * both / max(1, int(mine.sum()) + there)
        missed, other = (float((given & (self._mine == 0)).sum()) / there, int((given & ~mine).sum()) / there)
        return (
            f"as one Dice {dice:.2f}; of their voxels {right / there:.0%} right, {(both - right) / there:.0%} as "
            f"another of them, {other - missed:.0%} as something else, {missed:.0%} missed"
        )

    def _shares(
        self, numbers: UInt16[np.ndarray, "x y z"], where: Bool[np.ndarray, "x y z"], of: Bool[np.ndarray, "x y z"]
    ) -> dict[str, float]:
        """Return the structures of the voxels of a mask, as shares of another; "" is none."""
        counts = np.bincount(numbers[where], minlength=1)
        whole = max(1, int(of.sum()))
        return {("", *self._names)[n]: float(counts[n] / whole) for n in np.flatnonzero(counts)}

    def draw(self, name: str, dice: float, volume: Volume, path: Path) -> Fault:
        """Draw an axial and a coronal slice, each where most is wrong.

        Red is the reference, blue the mask, and green the mask of the structure that has most of the rest.
        """
        fault = self.of(name)
        mask, expected = self._found.mask(name), self._references.mask(name).whole()
        masks = {"reference": expected, "found": mask}
        if large := _large(fault.as_others):
            masks[f"found as {large[0][0]}"] = self._found.mask(large[0][0])
        box = _around(expected | mask, volume.spacing_mm)
        shown = Volume.from_array(np.ascontiguousarray(volume.hu[box]), np.diag([*volume.spacing_mm, 1.0]))
        cut = {label: one[box] for label, one in masks.items()}
        path.write_bytes(draw_finding(shown, cut, (mask ^ expected)[box], f"{readable(name)}, Dice {dice:.2f}"))
        return fault


def summary(faults: dict[str, Fault]) -> str:
    """Return as text the number of structures with each fault."""
    counts = Counter(fault.kind for fault in faults.values())
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def _large(shares: dict[str, float]) -> list[tuple[str, float]]:
    found = [(name, share) for name, share in shares.items() if share >= LEAST_SHARE]
    return sorted(found, key=lambda one: -one[1])


def _around(mask: Bool[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    """Return the box around a mask with a margin."""
    box = []
    for axis, edge in enumerate(spacing_mm):
        inside = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(0, inside[0] - round(MARGIN_MM / edge)), inside[-1] + 1 + round(MARGIN_MM / edge)))
    return tuple(box)
