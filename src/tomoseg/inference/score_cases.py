"""A predictor on cases of a preprocessed dataset, scored: what validation and `tomoseg evaluate` call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tomoseg.evaluation.masks import Scoring, score_pairs
from tomoseg.evaluation.overlap import OverlapCounter
from tomoseg.evaluation.scores import CaseScore
from tomoseg.inference.expected import ExpectedDice
from tomoseg.inference.predictor import Predictor
from tomoseg.postprocess.steps import Steps, apply, needs_confidence
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.segmentation import Confidence, Segmentation, boxed_masks


def score_case(predictor: Predictor, case: PreprocessedCase, expected: ExpectedDice | None = None) -> CaseScore:
    """Predict one case and compare it with its reference on the scan's own grid, by overlap alone.

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
    spacing_mm = record.source.spacing_mm
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    scores = counter.scores(predictor.labels, record.annotated, voxel_ml)
    return CaseScore(case.name, scores, record.patient, spacing_mm)


def score_case_fully(
    predictor: Predictor, case: PreprocessedCase, scoring: Scoring, steps: Steps, structures: Sequence[str] = ()
) -> CaseScore:
    """The same with distances between surfaces, after what is done to masks.

    Args:
        predictor: Its structures must be the dataset's.
        case: Of the validation or test split.
        scoring: How.
        steps: What is done to structures' masks.
        structures: Only these; none named is all.

    Raises:
        ConfigError: If a step needs the scan itself, which the dataset keeps on another grid.
        DatasetError: If the case keeps no masks on the scan's grid.
    """
    record = case.record
    predicted, reference = (Segmentation(predictor.labels, record.source) for _ in range(2))
    confidence = Confidence(predictor.labels.names, record.source) if needs_confidence(steps) else None
    shape = record.source.canonical_shape
    slices = predictor.packed_slices([case.ct()], record.placement, shape, confidence=confidence)
    for k, packed in enumerate(slices):
        predicted.append(packed)
        reference.append(case.native_masks_slice(k))
    processed = apply(predicted, steps, case.scan_hu() if confidence is not None else None, confidence)
    both = zip(boxed_masks(processed), boxed_masks(reference), strict=True)
    names = predictor.labels.names
    wanted = set(structures or names)
    pairs = (
        (names[channel], *pair)
        for channel, pair in enumerate(both)
        if channel in record.annotated and names[channel] in wanted
    )
    scores = tuple(score_pairs(pairs, record.source, scoring))
    return CaseScore(case.name, scores, record.patient, record.source.spacing_mm)


def score_cases(
    predictor: Predictor, cases: Sequence[PreprocessedCase], on_case: Callable[[CaseScore], None] | None = None
) -> list[CaseScore]:
    """Score many cases by overlap alone.

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
