"""A part of a scan, on its own voxels or others, and its slices laid into those of the scan."""

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
    """Where the part of a scan that a network is shown lies, on its own voxels or others.

    Attributes:
        placement: The part in the scan, and its voxels as the network is given them.
        sides: Along x, y and z which of these each of the scan's takes.
    """

    placement: Placement
    sides: tuple[Int64[np.ndarray, "x"], Int64[np.ndarray, "y"], Int64[np.ndarray, "z"]]

    @classmethod
    def of(cls, start: Triple, extent: Triple, shape: Triple) -> Window:
        """Of a part with some voxels.

        Args:
            start: Its first voxel in the scan.
            extent: Its voxels there.
            shape: Its voxels as the network is given them.
        """
        x, y, z = (nearest(length, target) for length, target in zip(shape, extent, strict=True))
        return cls(Placement(start, extent, shape), (x, y, z))

    def layer(self, k: int) -> int | None:
        """Which of the part's slices one of the scan's takes; None outside of it."""
        first, count = self.placement.start[2], self.placement.extent[2]
        return int(self.sides[2][k - first]) if first <= k < first + count else None


class PlacedSlice(ScanSlice):
    """A slice of a scan of which a part was looked at; each of its pixels takes what one of the part's says.

    Args:
        number: From 0, the most inferior.
        part: The part's slice; None outside of it.
        window: Where the part lies.
        shape: The scan's, in RAS+ order.
        labels: The structures that are wanted.
    """

    def __init__(self, number: int, part: ScanSlice | None, window: Window, shape: Triple, labels: LabelSet) -> None:
        self.number = number
        self._part, self._window, self._shape, self._labels = part, window, shape, labels

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """A mask for each structure, packed."""
        return self._put(lambda part: part.masks(), packed_bytes(len(self._labels)))

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """The id of each voxel's structure, 0 for none or one that is not wanted."""
        found: Any = self._put(lambda part: part.labels()[None], 1, label_type(self._labels.ids))
        return found[0]

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Of each structure, 0 to 1 as 0 to 255."""
        return self._put(lambda part: part.probabilities(calibrated=calibrated), len(self._labels))

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Of the most probable structure, 0 to 1 as 0 to 255."""
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
