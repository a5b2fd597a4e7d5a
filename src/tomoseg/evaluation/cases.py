"""Scoring a model on cases of a preprocessed dataset; the one function behind validation and `tomoseg evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tomoseg.evaluation.overlap import CaseScore, OverlapCounter
from tomoseg.inference.expected import ExpectedDice
from tomoseg.inference.predictor import Predictor
from tomoseg.preprocessed.read import PreprocessedCase


def score_case(predictor: Predictor, case: PreprocessedCase, expected: ExpectedDice | None = None) -> CaseScore:
    """Predict one case and compare it with its reference on the scan's own grid.

    Args:
        predictor: Its structures must be the dataset's.
        case: Of the validation or test split.
        expected: Takes what each structure's Dice may be expected to be.

    Raises:
        DatasetError: If the case keeps no masks on the scan's grid.
    """
    record = case.record
    counter = OverlapCounter(len(predictor.labels))
    shape = record.source.canonical_shape
    slices = predictor.packed_slices([case.ct()], record.placement, shape, expected=expected)
    for k, predicted in enumerate(slices):
        counter.add(predicted, case.native_masks_slice(k))
    voxel_ml = float(np.prod(case.spacing_mm)) / 1000
    return CaseScore(case.name, counter.scores(predictor.labels, record.annotated, voxel_ml))


def score_cases(
    predictor: Predictor, cases: Sequence[PreprocessedCase], on_case: Callable[[CaseScore], None] | None = None
) -> list[CaseScore]:
    """Score many cases.

    Args:
        predictor: Its structures must be the dataset's.
        cases: Of the validation or test split.
        on_case: Told after each.
    """
    scores = []
    for case in cases:
        scores.append(score_case(predictor, case))
        if on_case is not None:
            on_case(scores[-1])
    return scores
