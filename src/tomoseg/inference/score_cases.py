"""Scoring of a model on cases of a preprocessed dataset, for validation and `tomoseg evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int16, UInt8

from tomoseg.evaluation.masks import Scoring, score_pairs
from tomoseg.evaluation.overlap import OverlapCounter
from tomoseg.evaluation.scores import CaseScore
from tomoseg.grid import Placement
from tomoseg.inference.choices import Choices
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import LogitSink, Predictor
from tomoseg.inference.segment import segment_on_grid
from tomoseg.inference.sinks import ScanSlice, collect
from tomoseg.options import AS_TUNED, Request
from tomoseg.postprocess.steps import needs_confidence
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks
from tomoseg.volume import SourceGrid

AS_TRAINED = Request(tuned=False, all=True)
"""Request without tuning, of all structures."""


def on_grid(case: PreprocessedCase) -> OnGrid:
    """Return a case as the input of a predictor.

    Args:
        case: A case of a preprocessed dataset.
    """
    return OnGrid([case.ct()], case.record.placement, case.record.source, case.view)


class ScoredCase:
    """A case and its reference on the grid that it is scored on.

    This is the scan's own, or the network's where the case keeps no masks there (`PreprocessedCase.scored_on_grid`).

    Attributes:
        scan: Input of a predictor.
        source: The grid that is scored on.

    Args:
        case: A case of the validation or test split.
    """

    def __init__(self, case: PreprocessedCase) -> None:
        self._case = case
        self.scan = on_grid(case)
        if case.scored_on_grid:
            voxels = SourceGrid(case.shape, np.diag([*case.grid_spacing_mm, 1.0]))
            self.scan = OnGrid(self.scan.slabs, Placement((0, 0, 0), case.shape, case.shape), voxels, case.view)
        self.source = self.scan.source

    def masks_slice(self, k: int) -> UInt8[np.ndarray, "b x y"]:
        """Return the packed masks of one slice of the reference.

        Raises:
            DatasetError: If the case keeps no masks on the scan's grid, and is to be scored there.
        """
        return self._case.masks_slice(k) if self._case.scored_on_grid else self._case.native_masks_slice(k)

    def hu(self) -> Int16[np.ndarray, "x y z"] | None:
        """Return HU on the same grid; None if the dataset does not keep them."""
        return self._case.ct() if self._case.scored_on_grid else self._case.scan_hu()


class OverlapSink:
    """Counts the overlap of masks with a case's reference, slice by slice.

    Args:
        case: The case with its reference.
        structures: Number of structures.
    """

    def __init__(self, case: ScoredCase, structures: int) -> None:
        self.counter = OverlapCounter(structures)
        self._case = case

    def take(self, scan_slice: ScanSlice) -> None:
        """Take the next slice."""
        self.counter.add(scan_slice.masks(), self._case.masks_slice(scan_slice.number))


def score_case(predictor: Predictor, case: PreprocessedCase, watch: LogitSink | None = None) -> CaseScore:
    """Predict one case without tuning and compare it with its reference, by overlap alone.

    Args:
        predictor: Its structures must be the dataset's.
        case: A case of the validation or test split.
        watch: Receives the logits of every slice of the network's grid.

    Raises:
        DatasetError: If the case keeps no masks on the scan's grid.
    """
    record, scored = case.record, ScoredCase(case)
    choices = predictor.choices(AS_TRAINED)
    sink = OverlapSink(scored, len(choices.labels))
    collect(predictor.slices(scored.scan, choices, watch=watch), sink)
    spacing_mm = scored.source.spacing_mm
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    scores = sink.counter.scores(choices.labels, record.annotated, voxel_ml)
    return CaseScore(case.name, scores, record.patient, spacing_mm)


def score_case_fully(
    predictor: Predictor,
    case: PreprocessedCase,
    scoring: Scoring,
    choices: Choices,
    structures: Sequence[str] = (),
) -> CaseScore:
    """Predict one case and compare it with its reference, surface distances included.

    Args:
        predictor: Its structures must be the dataset's.
        case: A case of the validation or test split.
        scoring: The settings of the scores.
        choices: Decision settings, with post-processing.
        structures: Structures to score; if empty, all.

    Raises:
        ConfigError: If a step needs the scan itself, which the dataset keeps on another grid.
        DatasetError: If the case keeps no masks on the scan's grid.
    """
    record, names = case.record, choices.labels.names
    found, reference = masks_of_case(predictor, case, choices)
    both = zip(boxed_masks(found), boxed_masks(reference), strict=True)
    wanted = set(structures or names)
    pairs = (
        (names[channel], *pair)
        for channel, pair in enumerate(both)
        if channel in record.annotated and names[channel] in wanted
    )
    scores = tuple(score_pairs(pairs, reference.grid, scoring))
    return CaseScore(case.name, scores, record.patient, reference.grid.spacing_mm)


def masks_of_case(
    predictor: Predictor, case: PreprocessedCase, choices: Choices
) -> tuple[LabelMap | Segmentation, Segmentation]:
    """Return the prediction of a case and its reference, both on the grid that it is scored on.

    Args:
        predictor: Its structures must be the dataset's.
        case: A case of the validation or test split.
        choices: Decision settings, with post-processing.

    Raises:
        ConfigError: If a step needs the scan itself, which the dataset keeps on another grid.
        DatasetError: If the case keeps no masks on the scan's grid.
    """
    scored = ScoredCase(case)
    hu = scored.hu() if needs_confidence(choices.steps) else None
    found = segment_on_grid(scored.scan, predictor, choices, AS_TUNED, hu)
    reference = Segmentation(choices.labels, scored.source)
    for k in range(scored.source.canonical_shape[2]):
        reference.append(scored.masks_slice(k))
    return found.result, reference


def score_cases(
    predictor: Predictor, cases: Sequence[PreprocessedCase], on_case: Callable[[CaseScore], None] | None = None
) -> list[CaseScore]:
    """Score many cases by overlap alone.

    Args:
        predictor: Its structures must be the dataset's.
        cases: The cases of the validation or test split.
        on_case: Called after each case.
    """
    scores = []
    for case in cases:
        scores.append(score_case(predictor, case))
        if on_case is not None:
            on_case(scores[-1])
    return scores
