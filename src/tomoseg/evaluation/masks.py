"""Comparing all masks of one case, a structure at a time, in memory that grows with one structure and not with all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from tomoseg.evaluation.scores import EMPTIES, Empties, StructureScore, overlap_scores
from tomoseg.evaluation.surface import surface_distances
from tomoseg.masks import BoxedMask
from tomoseg.volume import SourceGrid

DEFAULT_TOLERANCE_MM = 3.0
"""Of surface Dice: what the public 117-structure dataset is scored with."""

_THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Scoring:
    """How masks are scored.

    Attributes:
        tolerance_mm: Of surface Dice.
        tolerances_mm: Other tolerances, by structure.
        surfaces: Whether distances between surfaces are measured.
        empties: What is said where a mask is empty.
    """

    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    tolerances_mm: Mapping[str, float] | None = None
    surfaces: bool = True
    empties: Empties = EMPTIES["tomoseg"]

    def tolerance_of(self, structure: str) -> float:
        """The tolerance in mm of one structure."""
        return self.tolerance_mm if self.tolerances_mm is None else self.tolerances_mm[structure]


Pair = tuple[str, BoxedMask, BoxedMask]
"""A structure, its prediction and its reference."""


def score_pairs(pairs: Iterable[Pair], grid: SourceGrid, scoring: Scoring) -> Iterator[StructureScore]:
    """Score structures as they come, a few at once in threads.

    Args:
        pairs: Of one case.
        grid: Its grid.
        scoring: How.
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
        name: Its name.
        predicted: The prediction.
        reference: What it should be.
        grid: The case's grid.
        scoring: How.
    """
    ours, theirs = predicted.voxels, reference.voxels
    dice, iou = overlap_scores(ours, theirs, predicted.overlap(reference), scoring.empties)
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
    score = StructureScore(name, dice, iou, theirs * voxel_ml, ours * voxel_ml)
    if not scoring.surfaces:
        return score
    if not (ours and theirs):
        distance = _distance_without(score, grid, scoring.empties)
        return replace(score, surface_dice=dice, hd95_mm=distance, surface_distance_mm=distance)
    found = surface_distances(predicted, reference, grid.spacing_mm)
    return replace(
        score,
        surface_dice=found.dice(scoring.tolerance_of(name)),
        hd95_mm=found.hausdorff(),
        surface_distance_mm=found.mean(),
    )


def _distance_without(score: StructureScore, grid: SourceGrid, empties: Empties) -> float | None:
    """The distance where there is no pair of surfaces."""
    if score.outcome == "absent":
        return empties.both_distance
    diagonal = float(np.linalg.norm(np.multiply(grid.canonical_shape, grid.spacing_mm)))
    return diagonal if score.outcome in empties.far else None
