"""The bounding box of a structure in a scan, and structures cut off at its border."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8, UInt16

from tomoseg.grid import Triple
from tomoseg.inference.choices import FoundBox
from tomoseg.inference.sinks import ScanSlice
from tomoseg.labels import LabelSet
from tomoseg.masks import unpack
from tomoseg.nnunet import Box
from tomoseg.notices import Notice

_MOST_NAMED = 3


def box_of(
    slices: Iterable[UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]],
    shape: Triple,
    spacing_mm: tuple[float, float, float],
    margin_mm: float,
) -> tuple[Triple, Triple] | None:
    """Return first and one past last voxel of the nonzero voxels' bounding box plus a margin; None if all are 0.

    Args:
        slices: All slices of a label map, from inferior to superior.
        shape: Shape of the scan.
        spacing_mm: Its voxel spacing; rounded to 32 bits, as in NIfTI headers.
        margin_mm: The margin, rounded down to whole voxels.

    Example:
        >>> slices = np.zeros((4, 9, 9), np.uint8)
        >>> slices[2, 4, 5] = 1
        >>> box_of(slices, (9, 9, 4), (1.0, 1.0, 5.0), 2.9)
        ((2, 3, 2), (7, 8, 3))
    """
    there = [np.zeros(edge, bool) for edge in shape]
    for k, values in enumerate(slices):
        inside = values > 0
        there[0] |= inside.any(axis=1)
        there[1] |= inside.any(axis=0)
        there[2][k] = inside.any()
    if not there[0].any():
        return None
    low, high = [], []
    for along, edge, length in zip(there, spacing_mm, shape, strict=True):
        margin, places = int(margin_mm / float(np.float32(edge))), np.flatnonzero(along)
        low.append(max(0, int(places[0]) - margin))
        high.append(min(length, int(places[-1]) + 1 + margin))
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def notice_of_none(rule: Box) -> Notice:
    """Return the notice that no box was found."""
    return Notice(
        f"{rule.finder} found no {_named(rule.structures)}, around which this network searches: nothing was "
        "segmented. Check whether the scan shows it.",
        "no box",
    )


def notice_of_no_finder(rule: Box) -> Notice:
    """Return the notice that the whole scan is segmented, since the finder's model is missing."""
    return Notice(
        f"{rule.finder}, which finds the box around {_named(rule.structures)}, is not installed, so the whole "
        f"scan is segmented. This is faster after: tomoseg fetch {rule.finder}",
        "whole scan",
    )


@dataclass
class Borders:
    """Structures that touch a side of the box beyond which the scan continues.

    Attributes:
        box: Finder of the box; None for a whole scan, where nothing is checked.
        labels: The structures.
        sides: Whether the scan continues below and above the box, along each axis.
        reaching: Whether each structure touches such a side.
    """

    box: FoundBox | None
    labels: LabelSet
    sides: tuple[tuple[bool, bool], ...]
    reaching: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.reaching = np.zeros(len(self.labels), bool)

    @classmethod
    def of(
        cls, box: FoundBox | None, labels: LabelSet, place: tuple[Triple, Triple], shape: tuple[int, ...]
    ) -> Borders:
        """Make it for a box in a scan.

        Args:
            box: Finder of the box.
            labels: The structures.
            place: First voxel of the box, and one past its last.
            shape: Shape of the scan.
        """
        sides = tuple((low > 0, high < edge) for low, high, edge in zip(*place, shape, strict=True))
        return cls(box, labels, sides)

    def look(self, one: ScanSlice, number: int, count: int) -> None:
        """Check one slice of the box.

        Args:
            one: The slice.
            number: Its index in the box, from 0.
            count: Number of slices in the box.
        """
        if self.box is None or not any(map(any, self.sides)):
            return
        masks = one.masks()
        (left, right), (front, back), (below, above) = self.sides
        borders = [masks[:, 0]] * left + [masks[:, -1]] * right + [masks[:, :, 0]] * front + [masks[:, :, -1]] * back
        if (below and number == 0) or (above and number == count - 1):
            borders = [masks.reshape(len(masks), -1)]
        for border in borders:
            packed = np.bitwise_or.reduce(border, axis=1)
            self.reaching |= unpack(packed[:, None], len(self.labels))[:, 0].astype(bool)

    def notices(self) -> tuple[Notice, ...]:
        """Return a notice if a structure may be cut off."""
        names = [name for name, reaches in zip(self.labels.names, self.reaching, strict=True) if reaches]
        if self.box is None or not names:
            return ()
        rule = self.box.rule
        words = (
            f"{_named(names)} {'reaches' if len(names) == 1 else 'reach'} the border of the box that {rule.finder} "
            f"found around {_named(rule.structures)}, and may be cut off there. Look at the scan."
        )
        return (Notice(words, "cut by the box"),)


def _named(names: Iterable[str]) -> str:
    """Join the first names, and the number of the others."""
    listed = list(names)
    others = len(listed) - _MOST_NAMED
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {others} more" if others > 0 else "")
