"""Success rates of structures and their ranking, which a mean over cases hides.

A case succeeds for a structure at a threshold if its Dice is at least that. A case without a Dice, in which the
structure is absent or not annotated, counts neither way; a missed structure has a Dice of 0 and fails.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import table_of
from tomoseg.files.atomic import ODD_NAMES, whole_file
from tomoseg.labels import LabelSet
from tomoseg.options import SUCCESS_AT

RANKING = "ranking.csv"


@dataclass(frozen=True)
class Ranked:
    """One structure in the ranking.

    Attributes:
        structure: Name of the structure.
        group: The group that it belongs to.
        n: Number of cases that have a Dice.
        median: Median Dice; None if no case has one.
        mean: Mean Dice; None if no case has one.
        success: Success rate, 0 to 1, at each of the thresholds; empty if no case has a Dice.
        by_median: Rank by median Dice, 1 for the best; ties share a rank. None if no case has a Dice.
        by_success: Rank by the mean of the success rates, in the same way.
    """

    structure: str
    group: str
    n: int
    median: float | None = None
    mean: float | None = None
    success: tuple[float, ...] = ()
    by_median: int | None = None
    by_success: int | None = None


@dataclass(frozen=True)
class Ranking:
    """All structures, the best first.

    Attributes:
        thresholds: Dice at or above which a case counts as a success, ascending.
        structures: By median, then by success; those without a Dice last, in channel order.
        overall: Mean success rates over the structures that have any; empty if none has.
    """

    thresholds: tuple[float, ...]
    structures: tuple[Ranked, ...]
    overall: tuple[float, ...]

    @property
    def known(self) -> tuple[Ranked, ...]:
        """The structures that have a Dice."""
        return tuple(one for one in self.structures if one.n)


def success_rates(dice: Float64[np.ndarray, " n"], thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return the share of cases whose Dice is at or above each threshold.

    Args:
        dice: `(n,)`, Dice of one or more cases, without NaN.
        thresholds: Dice thresholds, 0 to 1.

    Example:
        >>> success_rates(np.array([0.4, 0.7, 0.95, 0.0]), (0.5, 0.7, 0.9))
        (0.5, 0.5, 0.25)
    """
    return tuple(float((dice >= threshold).mean()) for threshold in thresholds)


def rank(scores: Sequence[CaseScore], labels: LabelSet, thresholds: Sequence[float] = SUCCESS_AT) -> Ranking:
    """Rank structures by median Dice and by success rates.

    Args:
        scores: The scores of each case.
        labels: The structures to report.
        thresholds: One or more Dice thresholds at or above which a case counts as a success.
    """
    ascending = tuple(sorted(set(thresholds)))
    table = table_of(scores, labels.names, "dice")
    rows = [_unranked(one.name, one.group, table[:, channel], ascending) for channel, one in enumerate(labels)]
    ranked = sorted(_with_ranks(rows), key=lambda row: (row.by_median or len(rows) + 1, row.by_success or 0))
    rates = [row.success for row in rows if row.n]
    overall = tuple(float(rate) for rate in np.mean(rates, axis=0)) if rates else ()
    return Ranking(ascending, tuple(ranked), overall)


def _with_ranks(rows: Sequence[Ranked]) -> list[Ranked]:
    medians = _ranks([row.median for row in rows])
    successes = _ranks([round(float(np.mean(row.success)), 12) if row.n else None for row in rows])
    ranks = zip(rows, medians, successes, strict=True)
    return [replace(row, by_median=by_median, by_success=by_success) for row, by_median, by_success in ranks]


def _unranked(name: str, group: str, dice: Float64[np.ndarray, " n"], thresholds: Sequence[float]) -> Ranked:
    known = dice[np.isfinite(dice)]
    if not known.size:
        return Ranked(name, group, 0)
    rates = success_rates(known, thresholds)
    return Ranked(name, group, known.size, float(np.median(known)), float(known.mean()), rates)


def _ranks(values: Sequence[float | None]) -> list[int | None]:
    """Return the rank of each value, 1 for the highest; ties share the better rank, and None gets None."""
    known = [value for value in values if value is not None]
    return [None if value is None else 1 + sum(other > value for other in known) for value in values]


def write_ranking(ranking: Ranking, path: Path) -> None:
    """Write one line per structure, the best first; missing values are left empty.

    Args:
        ranking: The ranking.
        path: The CSV file to write.

    Raises:
        OutputError: If it cannot be written.
    """
    first = ("rank_by_median", "rank_by_success", "structure", "group", "n", "median_dice", "mean_dice")
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8", errors=ODD_NAMES) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*first, *(f"dice_at_least_{threshold:g}" for threshold in ranking.thresholds)])
        for row in ranking.structures:
            rates = row.success or (None,) * len(ranking.thresholds)
            ranks = (row.by_median, row.by_success)
            writer.writerow([*ranks, row.structure, row.group, row.n, row.median, row.mean, *rates])
