"""Scores and their comparison, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tomoseg.errors import counted
from tomoseg.evaluation.metrics import METRICS
from tomoseg.evaluation.ranking import Ranked, Ranking
from tomoseg.evaluation.statistics import LEAST_PATIENTS, Estimate
from tomoseg.evaluation.summary import Comparison, Summary
from tomoseg.language.words import millilitres, percent, pointed, say, say_many, spoken
from tomoseg.pictures.structure_names import readable_group
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
    show_scores(result.summary, say_many(result.summary.cases, "1 case", "{count} cases"))
    show_ranking(result.ranking)
    if 0 < result.summary.patients < LEAST_PATIENTS:
        few = say(
            "No intervals: fewer than {least} patients ({count}).", least=LEAST_PATIENTS, count=result.summary.patients
        )
        out.print(few)
    if result.comparison is not None:
        show_comparison(result.comparison, other)
    warn_all(
        [*result.gathered, *result.warnings],
        elsewhere=say("--output writes them all")
        if output is None
        else say("{path} has them all", path=output / "report.html"),
    )
    if output is not None:
        out.print(
            say(
                "The scores are in {folder}, all of them on a page in {path}",
                folder=output,
                path=output / "report.html",
            )
        )
    fail(result.failed)


def show_scores(summary: Summary, title: str) -> None:
    """The figures of each structure with n, the groups, and the overall means with their intervals."""
    shown = [name for name, estimate in summary.overall.items() if _is_shown(name, estimate)]
    columns = [_column(metric) for metric in shown]
    rows = [
        (s.structure, s.n, *_means(s.metrics, shown), s.outcomes["missed"], s.absent, _millilitres(s.false_positive_ml))
        for s in summary.structures
    ]
    others = (say("missed"), say("absent in"), say("false positive ml"))
    table(title, (say("structure"), "n", *columns, *others), rows)
    if len(summary.groups) > 1 and shown:
        show_groups(summary, say("Groups"))
    if summary.dice is not None:
        means = ", ".join(f"{_column(metric)} {_with_interval(metric, summary.overall[metric])}" for metric in shown)
        count = summary.overall["dice"].n
        out.print(
            say_many(count, "Mean over 1 structure: {means}", "Mean over {count} structures: {means}", means=means)
        )


def show_groups(summary: Summary, title: str) -> None:
    """The mean figures of each group of structures."""
    shown = [name for name, estimate in summary.overall.items() if _is_shown(name, estimate)]
    rows = [
        (readable_group(name, spoken()), means["dice"].n, *_means(means, shown))
        for name, means in summary.groups.items()
    ]
    table(title, (say("group"), say("structures"), *map(_column, shown)), rows)


def show_ranking(ranking: Ranking) -> None:
    """How often a structure succeeds in the mean, and which are the best and the worst."""
    known = ranking.known
    if not known:
        return
    rates = ", ".join(
        say("{dice} in {share}", dice=pointed(f"{threshold:g}"), share=percent(rate))
        for threshold, rate in zip(ranking.thresholds, ranking.overall, strict=True)
    )
    out.print(
        say_many(
            len(known),
            "Success, mean over 1 structure: a Dice of at least {rates} of cases",
            "Success, mean over {count} structures: a Dice of at least {rates} of cases",
            rates=rates,
        )
    )
    if len(known) > 2 * LISTED:
        out.print(say("Best median Dice: {structures}", structures=_medians(known[:LISTED])))
        out.print(say("Worst median Dice: {structures}", structures=_medians(known[: -LISTED - 1 : -1])))


def _medians(structures: Sequence[Ranked]) -> str:
    return ", ".join(f"{one.structure} {pointed(f'{one.median:.3f}')}" for one in structures)


def _means(estimates: Mapping[str, Estimate], metrics: Sequence[str]) -> list[str | None]:
    means = {metric: estimates[metric].mean for metric in metrics}
    return [None if mean is None else _rounded(mean, METRICS[metric].digits) for metric, mean in means.items()]


def _millilitres(value: float | None) -> str | None:
    return None if value is None else millilitres(value)


def _rounded(value: float, digits: int) -> str:
    return pointed(f"{value:.{digits}f}")


def _is_shown(metric: str, estimate: Estimate) -> bool:
    return "terminal" in METRICS[metric].places and estimate.mean is not None


def _column(metric: str) -> str:
    return f"{METRICS[metric].name(spoken())} {METRICS[metric].unit}".rstrip()


def _with_interval(metric: str, estimate: Estimate) -> str:
    digits, unit = METRICS[metric].digits, METRICS[metric].unit
    mean = _rounded(
        estimate.mean or 0.0, digits + (not unit)
    )  # shares are told more exactly than those of one structure
    if estimate.low is None:
        return mean
    ends = say("{low} to {high}", low=_rounded(estimate.low, digits), high=_rounded(estimate.high or 0.0, digits))
    return f"{mean} ({ends})"


def show_comparison(comparison: Comparison, other: str) -> None:
    """How much higher or lower than another's the scores are, and how surely."""
    corrected = comparison.corrected_p()
    rows: list[tuple[object, ...]] = []
    for name, found in comparison.structures.items():
        dice = found["dice"]
        rows.append((name, dice.n, dice.difference, dice.low, dice.high, corrected[name]))
    dice = comparison.overall["dice"]
    rows.append((say("all"), dice.n, dice.difference, dice.low, dice.high, dice.p))
    title = say_many(
        comparison.cases,
        "Dice minus that of {other}, 1 common case",
        "Dice minus that of {other}, {count} common cases",
        other=other,
    )
    columns = (say("structure"), say("pairs"), say("difference"), say("from"), say("to"), say("p (Wilcoxon, Holm)"))
    table(title, columns, rows)
    if comparison.lacks_patients:
        out.print(
            say_many(
                comparison.patients,
                "No interval and no p-value where fewer than {least} patients have a pair; 1 patient in common.",
                "No interval and no p-value where fewer than {least} patients have a pair; {count} patients in common.",
                least=LEAST_PATIENTS,
            )
        )
    if ours := comparison.only_ours:
        warn_all([f"{counted(len(ours), 'case')} without a counterpart in {other}: {_first(ours)}"])
    if theirs := comparison.only_theirs:
        warn_all([f"{counted(len(theirs), 'case')} in {other} without a counterpart here: {_first(theirs)}"])


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
