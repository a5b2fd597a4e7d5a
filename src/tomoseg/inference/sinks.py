"""What takes the slices of a scan as they are decided: masks, a label map, probabilities, notices.

A sink takes what it needs of each slice and nothing else is computed; a new one is a class with a method `take`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from tomoseg.grid import Placement
from tomoseg.inference.decide import (
    SlicePair,
    confidences,
    decide_labels,
    decide_masks,
    highest_confidence,
)
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import packed_bytes
from tomoseg.notices import Notice
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.volume import SourceGrid

Progress = Callable[[int, int], None]
"""Told after each slice of a scan: slices done, slices in all."""


class ScanSlice:
    """One axial slice of a scan, on the scan's own grid; what is not asked for is not computed.

    Attributes:
        number: From 0, the most inferior.
        notices: What is noticed with this slice.

    Args:
        number: Its number.
        between: The slices of the network's grid around it; None outside of the grid's box.
        placement: Where the network's grid lies in the scan.
        shape: The scan's, in RAS+ order.
        labels: The structures.
        offsets: What was subtracted from each structure's logits, so that it is decided at 0.
        scales: What logits are multiplied with for probabilities, above and below 0; omitted for nothing.
    """

    notices: tuple[Notice, ...] = ()

    def __init__(
        self,
        number: int,
        between: SlicePair | None,
        placement: Placement,
        shape: tuple[int, int, int],
        labels: LabelSet,
        offsets: Float32[np.ndarray, "c"],
        scales: Float32[np.ndarray, "c 2"] | None = None,
    ) -> None:
        self.number = number
        self._between, self._placement, self._shape = between, placement, shape
        self._labels, self._offsets, self._scales = labels, offsets, scales

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """Independent masks, packed."""
        return self._placed(decide_masks, packed_bytes(len(self._labels)))

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """The id of the structure with the highest positive logit, else 0; ties go to the structure that is first."""
        out = np.zeros(self._shape[:2], label_type(self._labels.ids))
        if self._between is not None:
            x, y, _ = self._placement.box()
            out[x, y] = decide_labels(
                self._between, self._placement.extent[:2], self._labels.ids, self._placement.nearest[:2]
            )
        return out

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Of each structure, 0 to 1 as 0 to 255.

        Args:
            calibrated: At the model's temperatures, if it has any; else as the network says them.
        """
        scales = self._scales if calibrated else None
        return self._placed(partial(confidences, offsets=self._offsets, scales=scales), len(self._labels))

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Of the structure with the highest logit, 0 to 1 as 0 to 255, at the model's temperatures."""
        return self._placed(partial(highest_confidence, offsets=self._offsets, scales=self._scales), 1)

    def _placed(self, decide: Callable[..., UInt8[np.ndarray, "n _ _"]], planes: int) -> UInt8[np.ndarray, "n x y"]:
        """What is decided in the grid's box, in a slice of the scan that is 0 elsewhere."""
        out = np.zeros((planes, *self._shape[:2]), np.uint8)
        if self._between is not None:
            x, y, _ = self._placement.box()
            out[:, x, y] = decide(self._between, self._placement.extent[:2], nearest=self._placement.nearest[:2])
        return out


@runtime_checkable
class Sink(Protocol):
    """Takes the slices of a scan from inferior to superior."""

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""


def collect(slices: Iterable[ScanSlice], *sinks: Sink, stages: Stages | None = None) -> None:
    """Give each slice to every sink.

    Args:
        slices: The slices of one scan, from inferior to superior.
        sinks: They take a slice in this order.
        stages: Takes the seconds of `decisions`.
    """
    stages = stages or Stages()
    for scan_slice in slices:
        with stages("decisions"):
            for sink in sinks:
                sink.take(scan_slice)


class MaskSink:
    """Independent masks, compressed as they come.

    Attributes:
        result: Whole once the last slice is taken.

    Args:
        labels: The structures.
        grid: The scan's.
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid) -> None:
        self.result = Segmentation(labels, grid)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.append(scan_slice.masks())


class LabelMapSink:
    """One structure a voxel.

    Attributes:
        result: Whole once the last slice is taken.

    Args:
        labels: The structures.
        grid: The scan's.
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid) -> None:
        values = np.zeros(grid.canonical_shape, label_type(labels.ids), order="F")
        self.result = LabelMap(values, labels, grid)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.values[:, :, scan_slice.number] = scan_slice.labels()


class ConfidenceSink:
    """Probabilities of each structure.

    Attributes:
        result: Whole once the last slice is taken.

    Args:
        labels: The structures.
        grid: The scan's.
        calibrated: At the model's temperatures, if it has any.
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid, *, calibrated: bool = True) -> None:
        self.result = Confidence(labels.names, grid)
        self._calibrated = calibrated

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.append(scan_slice.probabilities(calibrated=self._calibrated))


class HighestConfidenceSink:
    """Probabilities of the structure that is most probable at each voxel.

    Attributes:
        result: Whole once the last slice is taken.

    Args:
        grid: The scan's.
    """

    def __init__(self, grid: SourceGrid) -> None:
        self.result = Confidence(("confidence",), grid)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.append(scan_slice.highest_probability())


class NoticeSink:
    """What is noticed while a scan is segmented.

    Attributes:
        result: Whole once the last slice is taken.
    """

    def __init__(self) -> None:
        self.result: tuple[Notice, ...] = ()

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result += scan_slice.notices


def in_turn(progress: Progress | None, number: int, of: int, slices: int) -> Progress | None:
    """What one of several passes over a scan tells, so that all of them count on.

    Args:
        progress: Called with the progress over all passes.
        number: Which, from 0.
        of: How many there are.
        slices: What a pass counts as, however many it has itself.

    Example:
        >>> in_turn(print, 1, 3, 100)(20, 40)
        150 300
    """
    if progress is None:
        return None
    return lambda done, total: progress(number * slices + done * slices // total, of * slices)
