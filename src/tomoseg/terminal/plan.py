"""What batches of training take, in the terminal."""

from __future__ import annotations

from tomoseg.language.words import pointed, say, say_many
from tomoseg.terminal.console import out, table
from tomoseg.training.plan import Plan


def show_plan(plan: Plan, asked: int) -> None:
    """What batches take, and the flags for those that fit.

    Args:
        plan: What was measured.
        asked: Slices a step that were asked for.
    """
    sizes = sorted({1, 2, 4, 8, 16, 32, plan.batch_size})
    rows = [
        (
            size,
            pointed(f"{plan.bytes_of(size) / 1e9:.2f}"),
            say("yes") if plan.bytes_of(size) <= plan.limit_bytes else say("no"),
        )
        for size in sizes
    ]
    fits = say("fits in {size} GB", size=pointed(f"{plan.limit_bytes / 1e9:.2f}"))
    table(say("Memory needed for training"), (say("batch size"), say("GB"), fits), rows)
    out.print(
        say_many(
            asked,
            "For steps of 1 slice: {flags} ({size} GB)",
            "For steps of {count} slices: {flags} ({size} GB)",
            flags=f"--batch-size {plan.batch_size} --accumulation {plan.accumulation}",
            size=pointed(f"{plan.bytes_of(plan.batch_size) / 1e9:.2f}"),
        )
    )
