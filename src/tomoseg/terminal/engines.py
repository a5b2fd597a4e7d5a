"""What engines and precisions cost and give, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tomoseg.language.words import later, number, percent, pointed, say, say_many
from tomoseg.models.exports import Export
from tomoseg.terminal.console import out, table
from tomoseg.workflows.agreement import FEW_VOXELS
from tomoseg.workflows.measure_engines import MEAN_LOSS, STRUCTURE_LOSS, EngineBenchmark
from tomoseg.workflows.time_engines import MOST_SECONDS, ROUNDS


def show_export(export: Export, model: Path) -> None:
    """What was written into the model's folder, and of int8 which layers stay in floating point."""
    files = ", ".join(export.files)
    out.print(say("{name} in {folder}: {files}", name=export.name, folder=model, files=files))
    kept = export.made.get("kept_in_floating_point")
    if kept is None:
        return
    if "images" in export.made:
        images = say_many(export.made["images"], "1 image", "{count} images")
        scans = say_many(len(export.made["calibrated_with"]), "1 scan", "{count} scans")
        out.print(say("The scales of int8 were taken from {images} of {scans}.", images=images, scans=scans))
    out.print(_kept_in_floating_point(kept, export.made.get("share_in_floating_point")))
    told = export.made.get("differing_by_group_kept", {})
    if "none" in told:
        out.print(_differing(told, export.made["checked_with"]))


def _kept_in_floating_point(layers: Sequence[str], share: float | None) -> str:
    of_all = "" if share is None else say(" ({share} of the multiplications)", share=percent(share))
    return say_many(
        len(layers),
        "1 layer stays in floating point{share}: {layers}",
        "{count} layers stay in floating point{share}: {layers}",
        share=of_all,
        layers=", ".join(layers),
    )


def _differing(told: Mapping[str, float], checked: int) -> str:
    """The voxels that int8 labels otherwise, without and with the layers that stay in floating point."""
    images = say_many(checked, "1 image", "{count} images")
    without = say(
        "In {images} that were set aside, {share} of the labelled voxels differ from fp32 if only the last layer stays "
        "in floating point",
        images=images,
        share=_exactly(told["none"]),
    )
    together = say(", {share} with all of these layers", share=_exactly(told["together"])) if "together" in told else ""
    return f"{without}{together}."


def _exactly(share: float) -> str:
    """In percent with two decimals."""
    return say("{share}%", share=pointed(f"{100 * share:.2f}"))


def show_benchmarks(ways: Sequence[EngineBenchmark]) -> None:
    """What each engine and precision costs and gives, PyTorch in fp32 first, and whether int8 will do."""
    _show_tables(ways)
    few = ways[0].few
    if few:
        text = later("Structures with fewer than {voxels} voxels, too few to count: {structures}")
        out.print(say(text, voxels=FEW_VOXELS, structures=", ".join(few)))
    _show_rule(ways)
    for way in [way for way in ways[1:] if way.precision == "int8"]:
        out.print(_verdict(way, ways[0]))


def _show_tables(ways: Sequence[EngineBenchmark]) -> None:
    reference, names = ways[0], [f"{way.engine} {way.precision}" for way in ways]
    unit, against = say("ms per slice"), "Dice"
    gives: tuple[str, ...] = (say("change"), say("largest loss"))
    if reference.seconds_a_scan is not None:
        unit, against = say("ms per patch"), say("Dice against {engine}", engine=names[0])
        gives = (say("voxels that differ"), say("lowest Dice"), say("s per scan"))
    rows = [(*_costs(way, reference), *_gives(way, reference)) for way in ways]
    table(say("Engines"), (say("engine"), say("MB"), unit, say("times faster"), against, *gives), rows)
    rows_of_dice = [(name, *(way.dice[name] for way in ways)) for name in reference.dice]
    table(against, (say("structure"), *names), rows_of_dice)


def _verdict(way: EngineBenchmark, reference: EngineBenchmark) -> str:
    """Whether int8 will do."""
    name = f"{way.engine} int8"
    if not way.losses(reference):
        return say("Too little was found in these scans to judge {name}; use other scans.", name=name)
    limits = {"mean": pointed(str(MEAN_LOSS)), "structure": pointed(str(STRUCTURE_LOSS))}
    within = later("{name} is within the limits: a loss of {mean} Dice on average, {structure} in any structure.")
    beyond = later("{name} is not within the limits: a loss of {mean} Dice on average, {structure} in any structure.")
    return say(within if way.is_close_to(reference) else beyond, name=name, **limits)


def _show_rule(ways: Sequence[EngineBenchmark]) -> None:
    """How times were taken, and which of them say little."""
    reference = ways[0]
    if reference.rounds:
        text = later("Times are medians over the last {last} of {rounds} rounds, with the middle half in brackets.")
        out.print(say(text, last=ROUNDS, rounds=reference.rounds))
    for way in ways:
        if not way.is_stable:
            words = {"name": f"{way.engine} {way.precision}", "seconds": f"{MOST_SECONDS:.0f}"}
            text = later("{name} was not stable after {seconds} s; measure again while nothing else is running.")
            out.print(say(text, **words))


def _costs(way: EngineBenchmark, reference: EngineBenchmark) -> tuple[object, ...]:
    faster = way.times_faster(reference)
    return (
        f"{way.engine} {way.precision}",
        number(way.megabytes, 1),
        f"{number(way.ms_per_slice, 1)}{_quartiles(way)}",
        None if faster is None else number(faster, 1),
    )


def _gives(way: EngineBenchmark, reference: EngineBenchmark) -> tuple[object, ...]:
    """Beside the first way, which is compared with nothing."""
    losses = {} if way is reference else way.losses(reference)
    worst = max(losses, key=lambda name: losses[name], default=None)
    if way.seconds_a_scan is not None:
        return (
            None if way.mean_dice is None else number(way.mean_dice, 4),
            None if way is reference else way.differing,
            None if worst is None else f"{worst} {number(way.dice[worst], 4)}",
            number(way.seconds_a_scan, 1),
        )
    return (
        way.mean_dice,
        None if way is reference else _gained(way, reference),
        None if worst is None else f"{worst} {pointed(f'{-losses[worst]:+.4f}')}",
    )


def _gained(way: EngineBenchmark, reference: EngineBenchmark) -> str | None:
    if way.mean_dice is None or reference.mean_dice is None:
        return None
    return pointed(f"{way.mean_dice - reference.mean_dice:+.4f}")


def _quartiles(way: EngineBenchmark) -> str:
    if way.ms_quartiles is None:
        return ""
    low, high = way.ms_quartiles
    return f" ({say('{low} to {high}', low=number(low, 1), high=number(high, 1))})"
