"""Summary of the scores of many cases: mean over cases, then over structures, with n and an interval for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from jaxtyping import Float64

from tomoseg.errors import DatasetError
from tomoseg.evaluation.metrics import metrics_in
from tomoseg.evaluation.scores import CaseScore, Outcome, StructureScore
from tomoseg.evaluation.statistics import DRAWS, Bootstrap, Difference, Estimate, holm
from tomoseg.labels import LabelSet

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class StructureSummary:
    """The scores of one structure over all cases.

    Attributes:
        structure: Name of the structure.
        metrics: Mean over the cases that have a value, by metric.
        outcomes: Number of cases by outcome: found or missed if it is present, false alarm or absent if it is not.
        false_positive_ml: Mean predicted volume in ml over the cases in which it is absent; None if there are none.
    """

    structure: str
    metrics: dict[str, Estimate]
    outcomes: dict[Outcome, int]
    false_positive_ml: float | None

    @property
    def n(self) -> int:
        """Number of cases that have a Dice."""
        return self.metrics["dice"].n

    @property
    def dice(self) -> float | None:
        """Mean Dice; None if no case has one."""
        return self.metrics["dice"].mean

    @property
    def iou(self) -> float | None:
        """Mean IoU; None if no case has one."""
        return self.metrics["iou"].mean

    @property
    def absent(self) -> int:
        """Number of cases in which it is annotated and absent."""
        return self.outcomes["absent"] + self.outcomes["false alarm"]


@dataclass(frozen=True)
class Summary:
    """The mean scores of all structures, of the groups and overall.

    Attributes:
        structures: Summaries of the structures, in channel order.
        groups: Means over the structures of each group.
        overall: Means over all structures.
        cases: Number of cases.
        patients: Number of patients that the cases belong to.
    """

    structures: tuple[StructureSummary, ...]
    groups: dict[str, dict[str, Estimate]]
    overall: dict[str, Estimate]
    cases: int
    patients: int

    @property
    def dice(self) -> float | None:
        """Mean Dice over the structures that have one; None if none has."""
        return self.overall["dice"].mean

    @property
    def iou(self) -> float | None:
        """Mean IoU over the structures that have one; None if none has."""
        return self.overall["iou"].mean


def summarise(scores: Sequence[CaseScore], labels: LabelSet, draws: int = 0) -> Summary:
    """Summarise scores: mean over cases, then over structures.

    Args:
        scores: The scores of each case.
        labels: The structures to report.
        draws: Number of bootstrap samples of patients; with 0 there are no intervals.
    """
    boot = Bootstrap(patients_of(scores), draws)
    tables = {metric: table_of(scores, labels.names, metric) for metric in metrics_in(scores)}
    place = {name: column for column, name in enumerate(labels.names)}

    def over(names: Sequence[str]) -> dict[str, Estimate]:
        columns = [place[name] for name in names]
        return {metric: boot.table(table[:, columns]) for metric, table in tables.items()}

    found = _by_structure(scores, labels)
    means = {
        name: {metric: boot.column(table[:, place[name]]) for metric, table in tables.items()} for name in labels.names
    }
    rows = tuple(_structure_summary(name, means[name], found[name]) for name in labels.names)
    groups = {group: over(names) for group, names in labels.groups.items()}
    return Summary(rows, groups, over(labels.names), len(scores), len(boot.names))


def _by_structure(scores: Sequence[CaseScore], labels: LabelSet) -> dict[str, list[StructureScore]]:
    found: dict[str, list[StructureScore]] = {name: [] for name in labels.names}
    for case in scores:
        for score in case.structures:
            found[score.structure].append(score)
    return found


def _structure_summary(name: str, metrics: dict[str, Estimate], scores: Sequence[StructureScore]) -> StructureSummary:
    outcomes = Counter(score.outcome for score in scores)
    false_positive_ml = _mean([score.predicted_ml for score in scores if score.reference_ml == 0])
    return StructureSummary(name, metrics, {outcome: outcomes[outcome] for outcome in OUTCOMES}, false_positive_ml)


@dataclass(frozen=True)
class Comparison:
    """The comparison of two sets of scores on the cases and structures that both have.

    Attributes:
        overall: Difference of the means over cases, then structures, by metric.
        structures: Differences by structure and metric.
        cases: Number of cases that both have.
        patients: Number of patients that these cases belong to.
        only_ours: Cases that only the first set has.
        only_theirs: Cases that only the second set has.
    """

    overall: dict[str, Difference]
    structures: dict[str, dict[str, Difference]]
    cases: int
    patients: int
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]

    @property
    def lacks_patients(self) -> bool:
        """Whether a structure that both have scores of has no interval and no p-value because of too few patients."""
        return any(found["dice"].n and found["dice"].low is None for found in self.structures.values())

    def corrected_p(self) -> dict[str, float | None]:
        """Return the p-value of the Dice of each structure, corrected for multiple testing (Holm)."""
        found = holm([each["dice"].p for each in self.structures.values()])
        return dict(zip(self.structures, found, strict=True))


def compare(ours: Sequence[CaseScore], theirs: Sequence[CaseScore], labels: LabelSet) -> Comparison:
    """Compare two models case by case; a positive difference means that `ours` is higher.

    Args:
        ours: The scores of each case by the first model.
        theirs: The scores of each case by the second model.
        labels: The structures to report.

    Raises:
        DatasetError: If the two have no case in common.
    """
    mine, others = _by_name(ours), _by_name(theirs)
    names = [name for name in mine if name in others]
    if not names:
        raise DatasetError(
            f"expected scores of the same cases, got {_some(mine)} and {_some(others)}; compare scores of the "
            "same dataset"
        )
    common, matched = [mine[name] for name in names], [others[name] for name in names]
    boot = Bootstrap(patients_of(common), DRAWS)
    pairs = {
        metric: (table_of(common, labels.names, metric), table_of(matched, labels.names, metric))
        for metric in metrics_in([*common, *matched])
    }

    def paired(columns: slice) -> dict[str, Difference]:
        return {metric: boot.paired(a[:, columns], b[:, columns]) for metric, (a, b) in pairs.items()}

    return Comparison(
        paired(slice(None)),
        {name: paired(slice(column, column + 1)) for column, name in enumerate(labels.names)},
        len(names),
        len(boot.names),
        tuple(name for name in mine if name not in others),
        tuple(sorted(others.keys() - mine.keys())),
    )


def _by_name(scores: Sequence[CaseScore]) -> dict[str, CaseScore]:
    return {case.case: case for case in scores}


def _some(cases: Mapping[str, CaseScore]) -> str:
    return ", ".join(list(cases)[:4]) or "none"


def table_of(scores: Sequence[CaseScore], names: Sequence[str], metric: str) -> Float64[np.ndarray, "n c"]:
    """Return one metric as a table `(cases, structures)`; NaN if there is no value."""
    place = {name: column for column, name in enumerate(names)}
    table = np.full((len(scores), len(names)), np.nan)
    for row, case in enumerate(scores):
        for score in case.structures:
            value = score.value(metric)
            if value is not None and score.structure in place:
                table[row, place[score.structure]] = value
    return table


def patients_of(scores: Sequence[CaseScore]) -> list[str]:
    """Return the patient of each case; a case without one is a patient of its own."""
    return [case.patient or case.case for case in scores]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
