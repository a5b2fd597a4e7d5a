"""Decisions of imported models, on the scan's own grid: structures that exclude one another, or regions in others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import blosc2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from tomoseg.grid import Placement
from tomoseg.inference.decide import SlicePair, decide_labels, shares_of_all
from tomoseg.inference.sinks import ScanSlice
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import packed_bytes, unpack


class ExclusiveSlice(ScanSlice):
    """A slice in which each voxel belongs to the structure of the highest logit, or to none.

    Args:
        number: From 0, the most inferior.
        between: The slices of the network's grid around it; None outside of the grid's box.
        placement: Where the network's grid lies in the scan.
        shape: The scan's, in RAS+ order.
        labels: The structures that are wanted.
        everything: All of the model's, in channel order: what wins over a wanted one takes the voxel from it.
        scales: Of each wanted structure what its logit is multiplied with, above and below 0; None for nothing.
    """

    def __init__(
        self,
        number: int,
        between: SlicePair | None,
        placement: Placement,
        shape: tuple[int, int, int],
        labels: LabelSet,
        everything: LabelSet,
        scales: Float32[np.ndarray, "c 2"] | None = None,
    ) -> None:
        super().__init__(number, between, placement, shape, labels, np.zeros(len(labels), np.float32), scales)
        self._everything = everything

    @cached_property
    def _winners(self) -> UInt16[np.ndarray, "x y"] | UInt8[np.ndarray, "x y"]:
        """Of all structures, the channel of each voxel's plus one; 0 for none."""
        channels = tuple(range(1, len(self._everything) + 1))
        out = np.zeros(self._shape[:2], label_type(channels))
        if self._between is not None:
            x, y, _ = self._placement.box()
            flags = self._placement.nearest[:2]
            out[x, y] = decide_labels(self._between, self._placement.extent[:2], channels, flags)
        return out

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """A mask for each structure, packed; no two share a voxel."""
        bits = np.zeros((packed_bytes(len(self._labels)), len(self._everything) + 1), np.uint8)
        for channel, structure in enumerate(self._labels):
            bits[channel // 8, self._everything.channel(structure.name) + 1] = 1 << channel % 8
        return bits[:, self._winners]

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """The id of each voxel's structure, 0 for none or one that is not wanted."""
        wanted = [one.id if one.name in self._labels else 0 for one in self._everything]
        return np.array([0, *wanted], label_type(self._labels.ids))[self._winners]

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Of each structure among all and the background, 0 to 1 as 0 to 255.

        Args:
            calibrated: At the model's temperatures, if it has any: then those of a voxel may not add up to 1.
        """
        channels = [self._everything.channel(name) for name in self._labels.names]
        return self._shares(channels, self._scales if calibrated else None)

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Of the most probable structure among those that are wanted, 0 to 1 as 0 to 255."""
        return self.probabilities().max(axis=0, keepdims=True)

    def _shares(self, channels: Sequence[int], scales: Float32[np.ndarray, "c 2"] | None) -> UInt8[np.ndarray, "c x y"]:
        out = np.zeros((len(channels), *self._shape[:2]), np.uint8)
        if self._between is not None:
            x, y, _ = self._placement.box()
            flags = self._placement.nearest[:2]
            out[:, x, y] = shares_of_all(self._between, self._placement.extent[:2], channels, flags, scales)
        return out


class RegionSlice(ScanSlice):
    """A slice in which regions may lie in one another; a label map has the last of them in channel order."""

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """The id of the last region that a voxel lies in, else 0."""
        out = np.zeros(self._shape[:2], label_type(self._labels.ids))
        for value, inside in zip(self._labels.ids, unpack(self.masks(), len(self._labels)), strict=True):
            out[inside] = value
        return out


def own_logits(margins: Float32[np.ndarray, "c x y"]) -> Float32[np.ndarray, "c x y"]:
    """Logits of each structure alone, whose sigmoid is its probability among all, from logits over the background's.

    Example:
        >>> odds = np.log(np.array([2.0, 1.0], np.float32)).reshape(2, 1, 1)  # shares 2, 1 and 1 of the background
        >>> np.round(1 / (1 + np.exp(-own_logits(odds))), 3).ravel().tolist()
        [0.5, 0.25]
    """
    highest = np.maximum(margins.max(axis=0), 0)
    parts = np.exp(margins - highest)
    others = np.maximum(np.exp(-highest) + parts.sum(axis=0) - parts, np.finfo(np.float32).tiny)
    return margins - highest - np.log(others)


class KeptSlice(ScanSlice):
    """A slice that is decided already.

    Args:
        number: From 0, the most inferior.
        values: The id of each voxel's structure; those that are not wanted count as none.
        probabilities: Packed, of some structures after others, in channel order; none where they are not wanted.
        labels: The structures that are wanted.
    """

    def __init__(
        self,
        number: int,
        values: UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"],
        probabilities: Sequence[bytes],
        labels: LabelSet,
    ) -> None:
        self.number = number
        self._values, self._packed, self._labels = values, probabilities, labels

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """A mask for each structure, packed; no two share a voxel."""
        bits = np.zeros((packed_bytes(len(self._labels)), self._highest() + 1), np.uint8)
        for channel, structure in enumerate(self._labels):
            bits[channel // 8, structure.id] = 1 << channel % 8
        return bits[:, self._values]

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """The id of each voxel's structure, 0 for none or one that is not wanted."""
        own = np.zeros(self._highest() + 1, label_type(self._labels.ids))
        own[list(self._labels.ids)] = self._labels.ids
        return own[self._values]

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Of each structure among its network's and the background, 0 to 1 as 0 to 255."""
        return np.concatenate([blosc2.unpack_array2(one) for one in self._packed])

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Of the most probable structure, 0 to 1 as 0 to 255."""
        return self.probabilities().max(axis=0, keepdims=True)

    def _highest(self) -> int:
        return max(int(self._values.max(initial=0)), *self._labels.ids)
