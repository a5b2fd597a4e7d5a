"""What engines and precisions cost and give, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tomoseg.models.exports import Export
from tomoseg.terminal.console import out, table
from tomoseg.workflows.measure_engines import MEAN_LOSS, STRUCTURE_LOSS, Way
from tomoseg.workflows.time_engines import MOST_SECONDS, ROUNDS


def show_export(export: Export, model: Path) -> None:
    """What was written into the model's folder."""
    out.print(f"{export.name} in {model}: {', '.join(export.files)}")


def show_ways(ways: Sequence[Way]) -> None:
    """What each engine and precision costs and gives, PyTorch in fp32 first, and whether int8 will do."""
    reference = ways[0]
    rows = [_row(way, reference) for way in ways]
    table("Engines", ("engine", "MB", "ms a slice", "times faster", "Dice", "change", "worst change"), rows)
    names = [f"{way.engine} {way.precision}" for way in ways]
    table(
        "Dice",
        ("structure", *names),
        [(name, *(way.dice[name] for way in ways)) for name in reference.dice],
    )
    _show_rule(ways)
    for way in ways:
        if way.precision == "int8":
            verdict = "is" if way.is_close_to(reference) else "is not"
            out.print(
                f"{way.engine} int8 {verdict} within the limits: "
                f"{MEAN_LOSS} lost in the mean, {STRUCTURE_LOSS} in any structure"
            )


def _show_rule(ways: Sequence[Way]) -> None:
    """How times were taken, and which of them say little."""
    reference = ways[0]
    if reference.rounds:
        out.print(
            f"Times are medians of the last {ROUNDS} of {reference.rounds} rounds in turn, after a warm-up, with "
            "their middle half."
        )
    for way in ways:
        if not way.is_stable:
            out.print(
                f"{way.engine} {way.precision} did not become stable in {MOST_SECONDS:.0f} s: its time says little. "
                "Measure again while nothing else runs."
            )


def _row(way: Way, reference: Way) -> tuple[object, ...]:
    losses = way.losses(reference)
    worst = max(losses, key=lambda name: losses[name], default=None)
    gained = None if way.mean_dice is None or reference.mean_dice is None else way.mean_dice - reference.mean_dice
    faster = way.times_faster(reference)
    return (
        f"{way.engine} {way.precision}",
        f"{way.megabytes:.1f}",
        f"{way.ms_per_slice:.1f}{_quartiles(way)}",
        None if faster is None else f"{faster:.1f}",
        way.mean_dice,
        None if gained is None or way is reference else f"{gained:+.4f}",
        None if worst is None or way is reference else f"{worst} {-losses[worst]:+.4f}",
    )


def _quartiles(way: Way) -> str:
    if way.ms_quartiles is None:
        return ""
    low, high = way.ms_quartiles
    return f" ({low:.1f} to {high:.1f})"
