"""How training goes: a bar in a terminal, a line an epoch anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from tomoseg.terminal.console import out, progress_bar, table, warn_all
from tomoseg.training.listener import Listener, Outcome, Step
from tomoseg.training.plan import Plan
from tomoseg.training.ranks import is_first_process

SMOOTHING = 0.95
"""Weight of what was before in the shown loss and speed."""


@contextmanager
def watch(should_stop: Callable[[], bool]) -> Iterator[Listener]:
    """A listener that shows the run, with loss, Dice, speed and the time left."""
    with progress_bar() as bar:
        display = _Display(bar)
        yield Listener(
            display.on_step, display.on_epoch, display.on_validated, should_stop, lambda message: warn_all([message])
        )


class _Display:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._training: TaskID | None = None
        self._validation: TaskID | None = None
        self._loss: float | None = None
        self._speed: float | None = None

    def on_step(self, step: Step) -> None:
        if self._training is None:
            self._training = self._bar.add_task("train", total=step.steps, info="")
        self._loss = _smoothed(self._loss, step.loss)
        self._speed = _smoothed(self._speed, step.slices_per_second)
        dice = "-" if step.dice is None else f"{step.dice:.4f}"
        info = f"loss {self._loss:.4f}  best Dice {dice}  {self._speed:.0f} slices/s  lr {step.learning_rate:.1e}"
        self._bar.update(
            self._training, description=f"epoch {step.epoch}", completed=step.step, total=step.steps, info=info
        )

    def on_validated(self, done: int, total: int) -> None:
        if self._validation is None:
            self._validation = self._bar.add_task("validate", total=total, info="")
        self._bar.update(self._validation, completed=done, total=total, visible=done < total)

    def on_epoch(self, record: dict[str, Any]) -> None:
        text = f"epoch {record['epoch']:>3}  {record['minutes']:6.1f} min"
        names = {"loss": "train_loss", "validation loss": "validation_loss", "Dice": "validation_dice"}
        for shown, name in names.items():
            if record.get(name) is not None:
                text += f"  {shown} {record[name]:.4f}"
        if record.get("curriculum_share", 1) < 1:
            text += f"  drawn from the easiest {record['curriculum_share']:.0%} of slices"
        out.print(text)


def show_outcome(outcome: Outcome, output: Path) -> None:
    """How training ended and where the model is; of several processes only the first tells."""
    if not is_first_process():
        return
    if not outcome.finished:
        out.print(f"Stopped; the same command goes on where it was. The state is in {output}")
        return
    best = "no validation Dice" if outcome.best_dice is None else f"best validation Dice {outcome.best_dice:.4f}"
    out.print(f"Trained: {best}; model in {output / 'best'}, the run on a page in {output / 'summary.html'}")


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
        f"For steps of {asked} slices: --batch-size {plan.batch_size} --accumulation {plan.accumulation} "
        f"({plan.bytes_of(plan.batch_size) / 1e9:.2f} GB)"
    )


def _smoothed(before: float | None, now: float) -> float:
    return now if before is None else SMOOTHING * before + (1 - SMOOTHING) * now
