"""What engines and precisions cost and give, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tomoseg.errors import counted
from tomoseg.models.exports import Export
from tomoseg.terminal.console import out, table
from tomoseg.workflows.agreement import FEW_VOXELS
from tomoseg.workflows.measure_engines import MEAN_LOSS, STRUCTURE_LOSS, EngineBenchmark
from tomoseg.workflows.time_engines import MOST_SECONDS, ROUNDS


def show_export(export: Export, model: Path) -> None:
    """What was written into the model's folder, and of int8 which layers stay in floating point."""
    out.print(f"{export.name} in {model}: {', '.join(export.files)}")
    kept = export.made.get("kept_in_floating_point")
    if kept is None:
        return
    if "images" in export.made:
        scans = counted(len(export.made["calibrated_with"]), "scan")
        out.print(f"scales are from {counted(export.made['images'], 'image')} of {scans}")
    share = export.made.get("share_in_floating_point")
    of_all = "" if share is None else f", {share:.0%} of the multiplications"
    out.print(f"in floating point stay {counted(len(kept), 'layer')}{of_all}: {', '.join(kept)}")
    told = export.made.get("differing_by_group_kept", {})
    if "none" in told:
        end = f", with these kept {told['together']:.2%}" if "together" in told else ""
        out.print(
            f"of the voxels labelled in {counted(export.made['checked_with'], 'image')} kept aside {told['none']:.2%} "
            f"differ from fp32 with the last layer alone kept{end}"
        )


def show_benchmarks(ways: Sequence[EngineBenchmark]) -> None:
    """What each engine and precision costs and gives, PyTorch in fp32 first, and whether int8 will do."""
    _show_tables(ways)
    few = ways[0].few
    if few:
        out.print(f"In too few voxels to count, fewer than {FEW_VOXELS}: {', '.join(few)}")
    _show_rule(ways)
    for way in [way for way in ways[1:] if way.precision == "int8"]:
        out.print(_verdict(way, ways[0]))


def _show_tables(ways: Sequence[EngineBenchmark]) -> None:
    reference, names = ways[0], [f"{way.engine} {way.precision}" for way in ways]
    unit, against = "ms a slice", "Dice"
    gives: tuple[str, ...] = ("change", "worst change")
    if reference.seconds_a_scan is not None:
        unit, against, gives = "ms a patch", f"Dice with {names[0]}", ("voxels that differ", "lowest Dice", "s a scan")
    rows = [(*_costs(way, reference), *_gives(way, reference)) for way in ways]
    table("Engines", ("engine", "MB", unit, "times faster", against, *gives), rows)
    table(
        against,
        ("structure", *names),
        [(name, *(way.dice[name] for way in ways)) for name in reference.dice],
    )


def _verdict(way: EngineBenchmark, reference: EngineBenchmark) -> str:
    """Whether int8 will do."""
    if not way.losses(reference):
        return f"Whether {way.engine} int8 will do cannot be told: too little is found in these scans. Use others."
    verdict = "is" if way.is_close_to(reference) else "is not"
    return (
        f"{way.engine} int8 {verdict} within the limits: "
        f"{MEAN_LOSS} lost in the mean, {STRUCTURE_LOSS} in any structure"
    )


def _show_rule(ways: Sequence[EngineBenchmark]) -> None:
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


def _costs(way: EngineBenchmark, reference: EngineBenchmark) -> tuple[object, ...]:
    faster = way.times_faster(reference)
    return (
        f"{way.engine} {way.precision}",
        f"{way.megabytes:.1f}",
        f"{way.ms_per_slice:.1f}{_quartiles(way)}",
        None if faster is None else f"{faster:.1f}",
    )


def _gives(way: EngineBenchmark, reference: EngineBenchmark) -> tuple[object, ...]:
    """Beside the first way, which is compared with nothing."""
    losses = {} if way is reference else way.losses(reference)
    worst = max(losses, key=lambda name: losses[name], default=None)
    if way.seconds_a_scan is not None:
        return (
            None if way.mean_dice is None else f"{way.mean_dice:.4f}",
            None if way is reference else way.differing,
            None if worst is None else f"{worst} {way.dice[worst]:.4f}",
            f"{way.seconds_a_scan:.1f}",
        )
    return (
        way.mean_dice,
        None if way is reference else _gained(way, reference),
        None if worst is None else f"{worst} {-losses[worst]:+.4f}",
    )


def _gained(way: EngineBenchmark, reference: EngineBenchmark) -> str | None:
    if way.mean_dice is None or reference.mean_dice is None:
        return None
    return f"{way.mean_dice - reference.mean_dice:+.4f}"


def _quartiles(way: EngineBenchmark) -> str:
    if way.ms_quartiles is None:
        return ""
    low, high = way.ms_quartiles
    return f" ({low:.1f} to {high:.1f})"
