"""Slices of a part of a scan, resampled or not, placed in the slices of the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8, UInt16

from tomoseg.grid import Placement, Triple
from tomoseg.inference.nnunet.voxels import nearest
from tomoseg.inference.sinks import ScanSlice
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import packed_bytes


@dataclass(frozen=True)
class Window:
    """Place in a scan of the part that a network is given.

    Attributes:
        placement: The part in the scan, and its shape as the network is given it.
        sides: Index of the part's voxel for each of the scan's, along x, y and z.
    """

    placement: Placement
    sides: tuple[Int64[np.ndarray, "x"], Int64[np.ndarray, "y"], Int64[np.ndarray, "z"]]

    @classmethod
    def of(cls, start: Triple, extent: Triple, shape: Triple) -> Window:
        """Make it for a part.

        Args:
            start: Its first voxel in the scan.
            extent: Its shape in the scan's voxels.
            shape: Its shape as the network is given it.
        """
        x, y, z = (nearest(length, target) for length, target in zip(shape, extent, strict=True))
        return cls(Placement(start, extent, shape), (x, y, z))

    def layer(self, k: int) -> int | None:
        """Return the index of the part's slice for a slice of the scan; None outside the part."""
        first, count = self.placement.start[2], self.placement.extent[2]
        return int(self.sides[2][k - first]) if first <= k < first + count else None


class PlacedSlice(ScanSlice):
    """A slice of a scan of which a part was segmented; its pixels take the nearest of the part's.

    Args:
        number: Index of the slice, from 0, inferior to superior.
        part: The part's slice; None outside the part.
        window: Place of the part in the scan.
        shape: Shape of the scan in RAS+ order.
        labels: Requested structures.
    """

    def __init__(self, number: int, part: ScanSlice | None, window: Window, shape: Triple, labels: LabelSet) -> None:
        self.number = number
        self._part, self._window, self._shape, self._labels = part, window, shape, labels

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """Return a packed mask of each structure."""
        return self._put(lambda part: part.masks(), packed_bytes(len(self._labels)))

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """Return the id of each voxel's structure; 0 for none or one that is not requested."""
        found: Any = self._put(lambda part: part.labels()[None], 1, label_type(self._labels.ids))
        return found[0]

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Return the probability of each structure, 0 to 1 as 0 to 255."""
        return self._put(lambda part: part.probabilities(calibrated=calibrated), len(self._labels))

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Return the probability of the most probable structure, 0 to 1 as 0 to 255."""
        return self._put(lambda part: part.highest_probability(), 1)

    def _put(self, ask: Callable[[ScanSlice], np.ndarray], planes: int, kind: Any = np.uint8) -> np.ndarray:
        out = np.zeros((planes, *self._shape[:2]), kind)
        if self._part is not None:
            x, y, _ = self._window.placement.box()
            out[:, x, y] = ask(self._part)[:, self._across[0], self._across[1]]
        return out

    @cached_property
    def _across(self) -> tuple[np.ndarray, ...]:
        return np.ix_(*self._window.sides[:2])
