"""Slices of a scan as they are decided, and sinks that collect masks, a label map, probabilities or notices.

A sink asks each slice for what it needs, and nothing else is computed; any class with a method `take` is a sink.
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
"""Called after each slice of a scan with the slices done and the total number of slices."""


class ScanSlice:
    """One axial slice of a scan, on the scan's own grid, decided on demand.

    Attributes:
        number: Index of the slice, from 0, inferior to superior.
        notices: Notices that arose with this slice.

    Args:
        number: Index of the slice.
        between: The grid slices that it lies between; None outside the grid's box.
        placement: Position of the network's grid in the scan.
        shape: Shape of the scan in RAS+ order.
        labels: The structures.
        offsets: Subtracted from each structure's logits before, so that it is decided at 0.
        scales: Factors of logits for probabilities, above and below 0; if omitted, 1.
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
        """Return independent packed masks."""
        return self._placed(decide_masks, packed_bytes(len(self._labels)))

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """Return the id of the structure with the highest positive logit, else 0; ties go to the first structure."""
        out = np.zeros(self._shape[:2], label_type(self._labels.ids))
        if self._between is not None:
            x, y, _ = self._placement.box()
            out[x, y] = decide_labels(
                self._between, self._placement.extent[:2], self._labels.ids, self._placement.nearest[:2]
            )
        return out

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Return each structure's probability, 0 to 1 as 0 to 255.

        Args:
            calibrated: Apply the model's temperatures, if any.
        """
        scales = self._scales if calibrated else None
        return self._placed(partial(confidences, offsets=self._offsets, scales=scales), len(self._labels))

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Return the calibrated probability of the structure with the highest logit, 0 to 1 as 0 to 255."""
        return self._placed(partial(highest_confidence, offsets=self._offsets, scales=self._scales), 1)

    def _placed(self, decide: Callable[..., UInt8[np.ndarray, "n _ _"]], planes: int) -> UInt8[np.ndarray, "n x y"]:
        """Return a slice of the scan with the decisions in the grid's box, and 0 elsewhere."""
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
        stages: Records the duration of the stage `decisions`.
    """
    stages = stages or Stages()
    for scan_slice in slices:
        with stages("decisions"):
            for sink in sinks:
                sink.take(scan_slice)


class MaskSink:
    """Collects independent masks, compressed as they come.

    Attributes:
        result: Complete once the last slice is taken.

    Args:
        labels: The structures.
        grid: The scan's grid.
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid) -> None:
        self.result = Segmentation(labels, grid)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.append(scan_slice.masks())


class LabelMapSink:
    """Collects a label map.

    Attributes:
        result: Complete once the last slice is taken.

    Args:
        labels: The structures.
        grid: The scan's grid.
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid) -> None:
        values = np.zeros(grid.canonical_shape, label_type(labels.ids), order="F")
        self.result = LabelMap(values, labels, grid)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.values[:, :, scan_slice.number] = scan_slice.labels()


class ConfidenceSink:
    """Collects the probabilities of each structure.

    Attributes:
        result: Complete once the last slice is taken.

    Args:
        labels: The structures.
        grid: The scan's grid.
        calibrated: Apply the model's temperatures, if any.
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid, *, calibrated: bool = True) -> None:
        self.result = Confidence(labels.names, grid)
        self._calibrated = calibrated

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.append(scan_slice.probabilities(calibrated=self._calibrated))


class HighestConfidenceSink:
    """Collects the probability of the most probable structure at each voxel.

    Attributes:
        result: Complete once the last slice is taken.

    Args:
        grid: The scan's grid.
    """

    def __init__(self, grid: SourceGrid) -> None:
        self.result = Confidence(("confidence",), grid)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result.append(scan_slice.highest_probability())


class NoticeSink:
    """Collects notices that arise during segmentation.

    Attributes:
        result: Complete once the last slice is taken.
    """

    def __init__(self) -> None:
        self.result: tuple[Notice, ...] = ()

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.result += scan_slice.notices


def in_turn(progress: Progress | None, number: int, of: int, slices: int) -> Progress | None:
    """Return the progress callback of one of several passes over a scan, which reports the progress over all.

    Args:
        progress: Called with the progress over all passes.
        number: Index of the pass, from 0.
        of: Number of passes.
        slices: Slices that each pass counts as, however many it has itself.

    Example:
        >>> in_turn(print, 1, 3, 100)(20, 40)
        150 300
    """
    if progress is None:
        return None
    return lambda done, total: progress(number * slices + done * slices // total, of * slices)
