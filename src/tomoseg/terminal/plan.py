"""What batches of training take, in the terminal."""

from __future__ import annotations

from tomoseg.errors import counted
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
        (size, f"{plan.bytes_of(size) / 1e9:.2f}", "yes" if plan.bytes_of(size) <= plan.limit_bytes else "no")
        for size in sizes
    ]
    table("Memory of training", ("batch size", "GB", f"fits into {plan.limit_bytes / 1e9:.2f} GB"), rows)
    out.print(
        f"For steps of {counted(asked, 'slice')}: --batch-size {plan.batch_size} --accumulation {plan.accumulation} "
        f"({plan.bytes_of(plan.batch_size) / 1e9:.2f} GB)"
    )
