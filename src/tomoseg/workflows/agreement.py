"""Agreement of the masks of engines and precisions on scans without reference masks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from tomoseg.evaluation.overlap import OverlapCounter
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import AS_TRAINED
from tomoseg.inference.sinks import MaskSink, ScanSlice, collect
from tomoseg.inference.stages import Stages
from tomoseg.segmentation import Segmentation

FEW_VOXELS = 100
"""Structures with fewer voxels in the reference are not judged by Dice: single voxels would change it too much."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of the masks of one engine choice with those of the first.

    Attributes:
        dice: Dice of each structure, pooled over the voxels of all scans; None where both masks are empty.
        few: Structures with fewer than `FEW_VOXELS` voxels in the masks of the first.
        differing: Number of voxels with differing masks.
        voxels: Number of voxels of all scans.
        seconds: Mean seconds per scan, once the network is compiled.
    """

    dice: dict[str, float | None]
    few: tuple[str, ...]
    differing: int
    voxels: int
    seconds: float


class _Tally:
    """Voxel counts of one engine choice, summed over all scans.

    Args:
        structures: Number of structures.
    """

    def __init__(self, structures: int) -> None:
        self.counter = OverlapCounter(structures)
        self.differing, self.voxels, self.seconds = 0, 0, 0.0

    def add(self, mine: UInt8[np.ndarray, "b x y"], theirs: UInt8[np.ndarray, "b x y"]) -> None:
        """Count a slice."""
        self.counter.add(mine, theirs)
        self.differing += int((mine != theirs).any(axis=0).sum())
        self.voxels += mine[0].size

    def agreement(self, names: Sequence[str], scans: int) -> Agreement:
        """Return the agreement from the counts of `scans` scans."""
        both, either = self.counter.both, self.counter.predicted + self.counter.reference
        dice = [2 * float(a) / float(b) if b else None for a, b in zip(both, either, strict=True)]
        few = [name for name, voxels in zip(names, self.counter.reference, strict=True) if voxels < FEW_VOXELS]
        seconds = self.seconds / max(1, scans)
        return Agreement(dict(zip(names, dice, strict=True)), tuple(few), self.differing, self.voxels, seconds)


class _Beside:
    """Receives slices and tallies them against masks made before."""

    def __init__(self, tally: _Tally, reference: Segmentation) -> None:
        self._tally, self._reference = tally, _packed_slices(reference)

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self._tally.add(scan_slice.masks(), next(self._reference))


def agreements(
    predictors: Sequence[Predictor],
    scans: Iterable[OnGrid],
    on_scan: Callable[[int, int], None] = lambda way, scan: None,
) -> list[Agreement]:
    """Segment each scan with every predictor, and compare with the first.

    One scan is in memory at a time, with the compressed masks of the first predictor.

    Args:
        predictors: Predictors of the same model with different engines or precisions.
        scans: As the predictors take them.
        on_scan: Called with the number of an engine choice, from 0, and the number of scans that it has done.

    Raises:
        GridError: If a network's grid would be too large.
    """
    labels = predictors[0].record.labels
    tallies = [_Tally(len(labels)) for _ in predictors]
    done = 0
    for done, scan in enumerate(scans, start=1):
        held = replace(scan, slabs=list(scan.slabs))
        first = MaskSink(labels, scan.source)
        for way, (predictor, tally) in enumerate(zip(predictors, tallies, strict=True)):
            sink = first if way == 0 else _Beside(tally, first.result)
            stages, began = Stages(), time.perf_counter()
            collect(predictor.slices(held, predictor.choices(AS_TRAINED), stages), sink)
            tally.seconds += time.perf_counter() - began - stages.seconds.get("prepare", 0.0)
            on_scan(way, done)
        for packed in _packed_slices(first.result):
            tallies[0].add(packed, packed)
    return [tally.agreement(labels.names, done) for tally in tallies]


def _packed_slices(masks: Segmentation) -> Iterator[UInt8[np.ndarray, "b x y"]]:
    for _, slab in masks.slabs():
        for k in range(slab.shape[1]):
            yield slab[:, k].transpose(0, 2, 1)
