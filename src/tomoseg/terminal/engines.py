"""What engines and precisions cost and give, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.terminal.console import table
from tomoseg.workflows.measure_engines import Way


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
