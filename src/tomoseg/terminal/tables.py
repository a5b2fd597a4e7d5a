"""Results as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tomoseg.checks.findings import CheckReport
from tomoseg.evaluation.statistics import Estimate
from tomoseg.evaluation.summary import Comparison, Metric, Summary
from tomoseg.models.tuned import Tuned
from tomoseg.notices import Notice
from tomoseg.terminal.console import out, table, warn_all
from tomoseg.workflows.demo import DemoReport
from tomoseg.workflows.measure_engines import Way
from tomoseg.workflows.predict import OVERLAPPING, ScanDone, ranked
from tomoseg.workflows.preprocess import LOW_CEILING
from tomoseg.workflows.tune import Choice

COLUMNS: dict[Metric, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "surface_dice": "surface Dice",
    "hd95_mm": "HD95 mm",
    "surface_distance_mm": "distance mm",
    "volume_error_percent": "volume error %",
}


WORST_NAMED = 5
"""Structures named in a sentence; the table beside it has them all."""


def show_ceilings(ceilings: Mapping[str, float | None]) -> None:
    """What the grid leaves of each structure, with a warning where that is too little."""
    table("Dice that survives going to the grid and back", ("structure", "ceiling"), list(ceilings.items()))
    low = sorted((dice, name) for name, dice in ceilings.items() if dice is not None and dice < LOW_CEILING)
    if low:
        worst = ", ".join(f"{name} {dice:.3f}" for dice, name in low[:WORST_NAMED])
        which = worst if len(low) <= WORST_NAMED else f"{len(low)} structures, the worst are {worst}"
        warn_all([f"the grid is too coarse for {which}; choose a finer one"])


def show_scores(summary: Summary, title: str) -> None:
    """The figures of each structure with n, the groups, and the overall means with their intervals."""
    shown = [metric for metric in COLUMNS if summary.overall[metric].mean is not None]
    table(
        title,
        ("structure", "n", *(COLUMNS[metric] for metric in shown), "missed", "absent in", "false positive ml"),
        [
            (s.structure, s.n, *(s.metrics[m].mean for m in shown), s.outcomes["missed"], s.absent, s.false_positive_ml)
            for s in summary.structures
        ],
    )
    if len(summary.groups) > 1 and shown:
        table(
            "Groups",
            ("group", "structures", *(COLUMNS[metric] for metric in shown)),
            [(name, means["dice"].n, *(means[m].mean for m in shown)) for name, means in summary.groups.items()],
        )
    if summary.dice is not None:
        means = [f"{COLUMNS[metric]} {_with_interval(summary.overall[metric])}" for metric in shown]
        out.print(f"Mean over {summary.overall['dice'].n} structures: {', '.join(means)}")


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
        f"Dice less that of {other}, {comparison.cases} common cases",
        ("structure", "pairs", "difference", "from", "to", "p (Wilcoxon, Holm)"),
        rows,
    )
    for names, side in ((comparison.only_ours, "here"), (comparison.only_theirs, f"in {other}")):
        if names:
            warn_all([f"{len(names)} cases are only {side}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"])


def show_findings(report: CheckReport) -> None:
    """What looks wrong about a dataset, errors first, and how much of it there is."""
    for finding in report.findings:
        where = " ".join(part for part in (finding.case, finding.structure) if part)
        out.print(": ".join(part for part in (finding.level, finding.kind, where, finding.text) if part))
    warn_all(report.warnings)
    counts = Counter(f"{finding.level}: {finding.kind}" for finding in report.findings)
    if counts:
        table("Found", ("what", "times"), list(counts.items()))
    share = f" ({100 * report.flagged_masks / report.masks:.1f} %)" if report.masks else ""
    out.print(
        f"{report.cases} cases, {report.masks} masks: {report.errors} errors, "
        f"{len(report.findings) - report.errors} warnings; something is said of {report.flagged_masks} masks{share}"
    )


def show_demo(report: DemoReport) -> None:
    """The network's scores, what stands beside them, and where the pictures are."""
    show_scores(report.summary, f"Dice on {report.summary.cases} phantoms that were not trained on")
    rows: list[tuple[object, ...]] = [("network", report.summary.dice)]
    rows += [(name, summary.dice) for name, summary in report.baselines.items()]
    table("Beside what knows no shapes", ("method", "mean Dice"), rows)
    out.print(f"{report.minutes:.1f} minutes. Pictures:")
    for path in report.pictures:
        out.print(f"  {path}")


def show_ways(ways: Sequence[Way]) -> None:
    """What each engine and precision costs and gives, PyTorch in fp32 first, and then structure by structure."""
    reference = ways[0]
    rows: list[tuple[object, ...]] = []
    for way in ways:
        losses = way.losses(reference)
        worst = max(losses, key=lambda name: losses[name], default=None)
        lost = None if way.mean_dice is None or reference.mean_dice is None else reference.mean_dice - way.mean_dice
        rows.append(
            (
                f"{way.engine} {way.precision}",
                f"{way.megabytes:.1f}",
                f"{way.ms_per_slice:.1f}",
                f"{reference.ms_per_slice / way.ms_per_slice:.2f}",
                way.mean_dice,
                None if lost is None else f"{lost:.4f}",
                None if worst is None or way is reference else f"{worst} {losses[worst]:.4f}",
            )
        )
    table("Engines", ("engine", "MB", "ms a slice", "times faster", "Dice", "lost", "most lost"), rows)
    names = [f"{way.engine} {way.precision}" for way in ways]
    table(
        "Dice",
        ("structure", *names),
        [(name, *(way.dice[name] for way in ways)) for name in reference.dice],
    )


def show_choices(tuned: Tuned, choices: Sequence[Choice]) -> None:
    """What is done from now on to each structure, and the Dice that it gained where it was chosen."""
    rows: list[tuple[object, ...]] = [
        (c.structure, c.cases, f"{c.threshold:g}", ", ".join(map(str, c.steps)) or "-", c.before, c.after)
        for c in choices
    ]
    table("Chosen", ("structure", "cases", "threshold", "steps", "Dice before", "after"), rows)
    before, after = tuned.chosen_on["dice_before"], tuned.chosen_on["dice_after"]
    out.print(
        f"Smoothing over slices: {tuned.smoothing:g}. Mean Dice on the cases that chose it: {before:.4f} before, "
        f"{after:.4f} after. predict uses it unless told otherwise (--no-tuned)."
    )


def show_triage(results: Sequence[ScanDone]) -> None:
    """The scans by the Dice that may be expected of them, the worst first; nothing if that was not asked for."""
    rows = [(r.scan, r.dice, r.worst, r.least, r.found) for r in ranked(results)]
    if rows:
        columns = ("scan", "expected Dice", "its worst structure", "of that", "structures found")
        table("To be looked at first", columns, rows)


def _of(scan: str, text: str) -> str:
    return text.of(scan) if isinstance(text, Notice) else f"{scan}: {text}"  # of a former run: kinds are not kept


def show_predictions(results: Sequence[ScanDone]) -> None:
    """Where each result is and what computed them in how much memory."""
    last = None
    for result in results:
        warn_all([_of(result.scan.name, text) for text in result.warnings])
        if result.record is None:
            continue
        seconds = sum(taken for stage, taken in result.record["seconds"].items() if stage not in OVERLAPPING)
        took = "done before" if result.skipped else f"{seconds:.1f} s"
        out.print(f"{result.scan.name}: {result.scan.output} ({took})")
        last = last if result.skipped else result.record
    if last is not None:
        engine = last["engine"]
        peak = last["peak_memory_bytes"] / 2**30
        out.print(f"{engine['name']} {engine['precision']} on {engine['device']}, peak memory {peak:.2f} GiB")
