"""Scores and their comparison, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tomoseg.errors import counted
from tomoseg.evaluation.metrics import METRICS
from tomoseg.evaluation.ranking import Ranked, Ranking
from tomoseg.evaluation.statistics import LEAST_PATIENTS, Estimate
from tomoseg.evaluation.summary import Comparison, Summary
from tomoseg.language.words import percent
from tomoseg.terminal.console import fail, out, table, warn_all
from tomoseg.workflows.evaluate import Evaluation

LISTED = 3
"""Of the best structures, and of the worst."""


def show_evaluation(result: Evaluation, other: str, output: Path | None) -> None:
    """All that came of an evaluation: scores, the comparison, warnings, where the files are, and what failed.

    Args:
        result: What was found.
        other: What it was compared with, if it was.
        output: The folder of the files.
    """
    show_scores(result.summary, counted(result.summary.cases, "case"))
    show_ranking(result.ranking)
    if 0 < result.summary.patients < LEAST_PATIENTS:
        out.print(f"No intervals: fewer than {LEAST_PATIENTS} patients ({result.summary.patients}).")
    if result.comparison is not None:
        show_comparison(result.comparison, other)
    warn_all(
        [*result.gathered, *result.warnings],
        elsewhere="--output writes them all" if output is None else f"{output / 'report.html'} has them all",
    )
    if output is not None:
        out.print(f"Scores in {output}, all on a page in {output / 'report.html'}")
    fail(result.failed)


def show_scores(summary: Summary, title: str) -> None:
    """The figures of each structure with n, the groups, and the overall means with their intervals."""
    shown = [name for name, estimate in summary.overall.items() if _is_shown(name, estimate)]
    columns = [_column(metric) for metric in shown]
    rows = [
        (s.structure, s.n, *_means(s.metrics, shown), s.outcomes["missed"], s.absent, s.false_positive_ml)
        for s in summary.structures
    ]
    table(title, ("structure", "n", *columns, "missed", "absent in", "false positive ml"), rows)
    if len(summary.groups) > 1 and shown:
        groups = [(name, means["dice"].n, *_means(means, shown)) for name, means in summary.groups.items()]
        table("Groups", ("group", "structures", *columns), groups)
    if summary.dice is not None:
        means = [f"{_column(metric)} {_with_interval(summary.overall[metric])}" for metric in shown]
        out.print(f"Mean over {counted(summary.overall['dice'].n, 'structure')}: {', '.join(means)}")


def show_ranking(ranking: Ranking) -> None:
    """How often a structure succeeds in the mean, and which are the best and the worst."""
    known = ranking.known
    if not known:
        return
    rates = [f"{t:g} in {percent(rate)}" for t, rate in zip(ranking.thresholds, ranking.overall, strict=True)]
    out.print(f"Success, mean over {counted(len(known), 'structure')}: a Dice of at least {', '.join(rates)} of cases")
    if len(known) > 2 * LISTED:
        out.print(f"Best median Dice: {_medians(known[:LISTED])}")
        out.print(f"Worst median Dice: {_medians(known[: -LISTED - 1 : -1])}")


def _medians(structures: Sequence[Ranked]) -> str:
    return ", ".join(f"{one.structure} {one.median:.3f}" for one in structures)


def _means(estimates: Mapping[str, Estimate], metrics: Sequence[str]) -> list[float | None]:
    return [estimates[metric].mean for metric in metrics]


def _is_shown(metric: str, estimate: Estimate) -> bool:
    return "terminal" in METRICS[metric].places and estimate.mean is not None


def _column(metric: str) -> str:
    return f"{METRICS[metric].name()} {METRICS[metric].unit}".rstrip()


def _with_interval(estimate: Estimate) -> str:
    interval = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.mean:.4f}{interval}"


def show_comparison(comparison: Comparison, other: str) -> None:
    """How much higher or lower than another's the scores are, and how surely."""
    corrected = comparison.corrected_p()
    rows: list[tuple[object, ...]] = []
    for name, found in comparison.structures.items():
        dice = found["dice"]
        rows.append((name, dice.n, dice.difference, dice.low, dice.high, corrected[name]))
    dice = comparison.overall["dice"]
    rows.append(("all", dice.n, dice.difference, dice.low, dice.high, dice.p))
    table(
        f"Dice less that of {other}, {counted(comparison.cases, 'common case')}",
        ("structure", "pairs", "difference", "from", "to", "p (Wilcoxon, Holm)"),
        rows,
    )
    if comparison.lacks_patients:
        out.print(
            f"No interval and no p where fewer than {LEAST_PATIENTS} patients have a pair; "
            f"{counted(comparison.patients, 'patient')} in common."
        )
    for names, side in ((comparison.only_ours, "here"), (comparison.only_theirs, f"in {other}")):
        if names:
            verb = "is" if len(names) == 1 else "are"
            some = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            warn_all([f"{counted(len(names), 'case')} {verb} only {side}: {some}"])
