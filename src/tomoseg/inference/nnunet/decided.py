"""Decisions of imported models on the scan's grid: exclusive structures, or nested regions."""

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
        number: Index of the slice, from 0, inferior to superior.
        between: The grid slices that it lies between; None outside the grid's box.
        placement: Position of the network's grid in the scan.
        shape: Shape of the scan in RAS+ order.
        labels: Requested structures.
        everything: All of the model's structures, in channel order, which compete for each voxel.
        scales: Factors of each requested structure's logit above and below 0; None for 1.
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
        """Channel of each voxel's structure plus one; 0 for none."""
        channels = tuple(range(1, len(self._everything) + 1))
        out = np.zeros(self._shape[:2], label_type(channels))
        if self._between is not None:
            x, y, _ = self._placement.box()
            flags = self._placement.nearest[:2]
            out[x, y] = decide_labels(self._between, self._placement.extent[:2], channels, flags)
        return out

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """Return a packed mask of each structure; no two overlap."""
        bits = np.zeros((packed_bytes(len(self._labels)), len(self._everything) + 1), np.uint8)
        for channel, structure in enumerate(self._labels):
            bits[channel // 8, self._everything.channel(structure.name) + 1] = 1 << channel % 8
        return bits[:, self._winners]

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """Return the id of each voxel's structure; 0 for none or one that is not requested."""
        wanted = [one.id if one.name in self._labels else 0 for one in self._everything]
        return np.array([0, *wanted], label_type(self._labels.ids))[self._winners]

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Return each structure's probability among all and background, 0 to 1 as 0 to 255.

        Args:
            calibrated: Apply the model's temperatures, if any; a voxel's probabilities may then not add up to 1.
        """
        channels = [self._everything.channel(name) for name in self._labels.names]
        return self._shares(channels, self._scales if calibrated else None)

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Return the probability of the most probable requested structure, 0 to 1 as 0 to 255."""
        return self.probabilities().max(axis=0, keepdims=True)

    def _shares(self, channels: Sequence[int], scales: Float32[np.ndarray, "c 2"] | None) -> UInt8[np.ndarray, "c x y"]:
        out = np.zeros((len(channels), *self._shape[:2]), np.uint8)
        if self._between is not None:
            x, y, _ = self._placement.box()
            flags = self._placement.nearest[:2]
            out[:, x, y] = shares_of_all(self._between, self._placement.extent[:2], channels, flags, scales)
        return out


class RegionSlice(ScanSlice):
    """A slice of regions that may be nested; the label map has the last of them in channel order."""

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """Return the id of the last region that a voxel lies in; 0 for none."""
        out = np.zeros(self._shape[:2], label_type(self._labels.ids))
        for value, inside in zip(self._labels.ids, unpack(self.masks(), len(self._labels)), strict=True):
            out[inside] = value
        return out


def own_logits(margins: Float32[np.ndarray, "c x y"]) -> Float32[np.ndarray, "c x y"]:
    """Convert softmax logits relative to background to logits whose sigmoid is the same probability.

    Example:
        >>> odds = np.log(np.array([2.0, 1.0], np.float32)).reshape(2, 1, 1)  # 2 : 1 : 1 for background
        >>> np.round(1 / (1 + np.exp(-own_logits(odds))), 3).ravel().tolist()
        [0.5, 0.25]
    """
    highest = np.maximum(margins.max(axis=0), 0)
    parts = np.exp(margins - highest)
    others = np.maximum(np.exp(-highest) + parts.sum(axis=0) - parts, np.finfo(np.float32).tiny)
    return margins - highest - np.log(others)


class KeptSlice(ScanSlice):
    """A slice that has already been decided.

    Args:
        number: Index of the slice, from 0, inferior to superior.
        values: Id of each voxel's structure; those not requested count as none.
        probabilities: Compressed probabilities of consecutive structures in channel order; empty if not requested.
        labels: Requested structures.
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
        """Return a packed mask of each structure; no two overlap."""
        bits = np.zeros((packed_bytes(len(self._labels)), self._highest() + 1), np.uint8)
        for channel, structure in enumerate(self._labels):
            bits[channel // 8, structure.id] = 1 << channel % 8
        return bits[:, self._values]

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """Return the id of each voxel's structure; 0 for none or one that is not requested."""
        own = np.zeros(self._highest() + 1, label_type(self._labels.ids))
        own[list(self._labels.ids)] = self._labels.ids
        return own[self._values]

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Return each structure's probability among its network's structures and background, 0 to 1 as 0 to 255."""
        return np.concatenate([blosc2.unpack_array2(one) for one in self._packed])

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Return the probability of the most probable structure, 0 to 1 as 0 to 255."""
        return self.probabilities().max(axis=0, keepdims=True)

    def _highest(self) -> int:
        return max(int(self._values.max(initial=0)), *self._labels.ids)
