"""Scores of many cases in one table: mean over cases, then over structures, with n for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tomoseg.evaluation.overlap import CaseScore, StructureScore
from tomoseg.labels import LabelSet


@dataclass(frozen=True)
class StructureSummary:
    """One structure over all cases.

    Attributes:
        structure: Its name.
        n: Cases in which it is annotated and present.
        dice: Mean Dice over those; None if there is none.
        iou: Mean IoU over those; None if there is none.
        absent: Cases in which it is annotated and absent.
        false_positive_ml: Mean volume predicted in those; None if there is none.
    """

    structure: str
    n: int
    dice: float | None
    iou: float | None
    absent: int
    false_positive_ml: float | None


@dataclass(frozen=True)
class Summary:
    """All structures, the groups and the overall mean.

    Attributes:
        structures: In channel order.
        groups: Mean Dice over the scored structures of each group; None if there is none.
        dice: Mean Dice over scored structures; None if there is none.
        iou: Mean IoU over scored structures; None if there is none.
        cases: Cases looked at.
    """

    structures: tuple[StructureSummary, ...]
    groups: dict[str, float | None]
    dice: float | None
    iou: float | None
    cases: int


def summarise(scores: Sequence[CaseScore], labels: LabelSet) -> Summary:
    """Mean over cases, then over structures.

    Args:
        scores: One entry a case.
        labels: The structures to report.
    """
    by_structure: dict[str, list[StructureScore]] = {name: [] for name in labels.names}
    for case in scores:
        for score in case.structures:
            by_structure[score.structure].append(score)
    rows = tuple(_structure(name, found) for name, found in by_structure.items())
    dice = {row.structure: row.dice for row in rows}
    return Summary(
        rows,
        {group: mean_of(dice, names) for group, names in labels.groups.items()},
        mean_of(dice, labels.names),
        mean_of({row.structure: row.iou for row in rows}, labels.names),
        len(scores),
    )


def mean_of(values: Mapping[str, float | None], names: Sequence[str]) -> float | None:
    """Mean over the named entries that have a value; None if none has."""
    return _mean([value for name in names if (value := values[name]) is not None])


def _structure(name: str, scores: Sequence[StructureScore]) -> StructureSummary:
    present = [s for s in scores if s.reference_ml > 0]
    absent = [s for s in scores if s.reference_ml == 0]
    return StructureSummary(
        name,
        len(present),
        _mean([s.dice for s in present if s.dice is not None]),
        _mean([s.iou for s in present if s.iou is not None]),
        len(absent),
        _mean([s.predicted_ml for s in absent]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
