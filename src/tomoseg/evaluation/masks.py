"""Scoring of all masks of one case, structure by structure, so that memory does not grow with their number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tomoseg.evaluation.metrics import METRICS, MaskMetric, default_metrics, values_of
from tomoseg.evaluation.pairs import MaskPair, VoxelCounts
from tomoseg.evaluation.scores import EMPTIES, EmptyMaskPolicy, StructureScore
from tomoseg.masks import BoxedMask
from tomoseg.volume import SourceGrid

DEFAULT_TOLERANCE_MM = 3.0
"""Tolerance of the surface Dice with which the public 117-structure dataset is scored."""

_THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Scoring:
    """The settings of scoring.

    Attributes:
        tolerance_mm: Tolerance of the surface Dice in mm.
        tolerances_mm: Tolerances in mm of single structures, which override it.
        surfaces: Whether surface distances are measured.
        empties: The convention for empty masks.
        also: Names of metrics to compute in addition to the default ones.
        groups: The group of each structure; metrics for one group are computed for its structures only.
    """

    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    tolerances_mm: Mapping[str, float] | None = None
    surfaces: bool = True
    empties: EmptyMaskPolicy = EMPTIES["tomoseg"]
    also: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    def tolerance_of(self, structure: str) -> float:
        """Return the tolerance in mm of one structure."""
        return self.tolerance_mm if self.tolerances_mm is None else self.tolerances_mm[structure]

    def metrics_of(self, structure: str) -> list[str]:
        """Return the names of the metrics that are computed for one structure."""
        return [name for name in (*default_metrics(), *self.also) if self._applies(name, structure)]

    def _applies(self, name: str, structure: str) -> bool:
        metric = METRICS[name]
        if isinstance(metric, MaskMetric) and metric.of_surfaces and not self.surfaces:
            return False
        return metric.group not in self.groups.values() or metric.group == self.groups.get(structure)


Pair = tuple[str, BoxedMask, BoxedMask]
"""Name of a structure, its predicted mask and its reference mask."""


def score_pairs(pairs: Iterable[Pair], grid: SourceGrid, scoring: Scoring) -> Iterator[StructureScore]:
    """Yield the scores of structures in the order given, computing a few at once in threads.

    Args:
        pairs: Name, prediction and reference of each structure of one case.
        grid: The grid of the case.
        scoring: The settings of scoring.
    """
    waiting: deque[Future[StructureScore]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads:
        for name, predicted, reference in pairs:
            waiting.append(threads.submit(score_pair, name, predicted, reference, grid, scoring))
            if len(waiting) > 2 * _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def score_pair(
    name: str, predicted: BoxedMask, reference: BoxedMask, grid: SourceGrid, scoring: Scoring
) -> StructureScore:
    """Score one structure.

    Args:
        name: Name of the structure.
        predicted: The predicted mask.
        reference: The reference mask.
        grid: The grid of the case.
        scoring: The settings of scoring.
    """
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
    counts = VoxelCounts(predicted.voxels, reference.voxels, predicted.overlap(reference), voxel_ml)
    pair = None
    if counts.predicted and counts.reference:
        pair = MaskPair(predicted, reference, grid.spacing_mm, scoring.tolerance_of(name))
    diagonal = float(np.linalg.norm(np.multiply(grid.canonical_shape, grid.spacing_mm)))
    values = values_of(counts, scoring.metrics_of(name), scoring.empties, pair, diagonal)
    return StructureScore(name, counts.reference_ml, counts.predicted_ml, values)
