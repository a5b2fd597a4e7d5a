"""How training goes: a screen of bars in a terminal, a line an epoch anywhere. Nothing here loads PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tomoseg.errors import counted
from tomoseg.models.folder import VIEWS
from tomoseg.models.folds import OUT_OF_FOLD
from tomoseg.terminal.console import out, warn_all
from tomoseg.terminal.rows import Clock, Screen
from tomoseg.training.listener import Beginning, Listener, StepReport, TrainingOutcome, is_first_process

SMOOTHING = 0.95
"""Weight of what was before in the shown loss and speed."""


@contextmanager
def watch(should_stop: Callable[[], bool]) -> Iterator[Listener]:
    """A listener that shows the run: how much of the budget is used, the epoch, loss, Dice, speed and the time left.

    Of several processes that train together only the first shows anything.
    """
    with Screen(shown=is_first_process()) as screen:
        display = _Display(screen)
        yield Listener(
            on_step=display.on_step,
            on_epoch=display.on_epoch,
            on_validated=display.on_validated,
            should_stop=should_stop,
            on_warning=lambda message: warn_all([message]),
            on_begin=display.on_begin,
            on_stage=display.on_stage,
            on_part=display.on_part,
        )


class _Display:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._budget = ""
        self._share = 0.0
        self._loss: float | None = None
        self._speed: float | None = None
        self._first: StepReport | None = None
        self._began = time.monotonic()

    def on_part(self, part: str) -> None:
        self._share, self._loss, self._speed, self._first = 0.0, None, None, None
        self._screen.hide("train", "epoch", "validate")
        out.print(part)

    def on_stage(self, stage: str) -> None:
        """A row of its own until something else is told; alone once the budget is used up."""
        self._began = time.monotonic()
        self._screen.hide("validate")
        if self._share >= 1:
            self._screen.hide("train", "epoch")
            self._screen.numbers = ""
        self._screen.show("stage", stage, 0, None, "", Clock(0, None, self._began))

    def on_begin(self, beginning: Beginning) -> None:
        facts, behind = beginning.facts, len(beginning.history)
        self._budget = beginning.budget
        known = ("training cases", "validation cases", "structures", "parameters")
        text = ", ".join(f"{facts[name]} {name}" for name in known if name in facts)
        out.print(f"Training: {text}; budget {self._budget}" + (f", {counted(behind, 'epoch')} done" if behind else ""))
        self.on_stage("waiting for the first slices")

    def on_step(self, step: StepReport) -> None:
        if self._first is None or self._first.epoch != step.epoch:
            self._first = step
        self._screen.hide("stage", "validate")
        share = self._share = step.progress
        self._screen.show(
            "train", "train", share, 1.0, f"{share:.0%} of {self._budget}", Clock.of(60 * step.minutes, share)
        )
        before = self._first.step - 1
        clock = Clock.of(time.monotonic() - self._began, (step.step - before) / (step.steps - before))
        self._screen.show(
            "epoch", f"epoch {step.epoch}", step.step, step.steps, f"step {step.step} of {step.steps}", clock
        )
        self._loss = _smoothed(self._loss, step.loss)
        self._speed = _smoothed(self._speed, step.slices_per_second)
        dice = "-" if step.dice is None else f"{step.dice:.4f}"
        self._screen.numbers = (
            f"loss {self._loss:.4f}  best Dice {dice}  {self._speed:.0f} slices/s  "
            f"learning rate {step.learning_rate:.1e}"
        )

    def on_validated(self, done: int, total: int) -> None:
        self._screen.hide("stage")
        clock = Clock.of(time.monotonic() - self._began, done / total)
        self._screen.show("validate", "validate", done, total, f"case {done} of {total}", clock)

    def on_epoch(self, record: dict[str, Any]) -> None:
        self._screen.hide("stage", "validate")
        text = f"epoch {record['epoch']:>3}  {record['minutes']:6.1f} min"
        names = {"loss": "train_loss", "validation loss": "validation_loss", "Dice": "validation_dice"}
        for shown, name in names.items():
            if record.get(name) is not None:
                text += f"  {shown} {record[name]:.4f}"
        if record.get("curriculum_share", 1) < 1:
            text += f"  drawn from the easiest {record['curriculum_share']:.0%} of slices"
        out.print(text)
        self._began = time.monotonic()


def show_outcome(outcome: TrainingOutcome, output: Path) -> None:
    """How training ended and where the model is; of several processes only the first tells."""
    if not is_first_process():
        return
    if not outcome.finished:
        out.print(f"Stopped; the same command goes on where it was. The state is in {output}")
        return
    if outcome.folds is not None:
        each = ", ".join(map(_told, outcome.folds))
        mean = "" if outcome.best_dice is None else f"; mean validation Dice {outcome.best_dice:.4f}"
        out.print(
            f"Trained {len(outcome.folds)} folds: {each}{mean}. Together they are one model, {output}; masks of each "
            f"case by the fold that had not seen the patient are in {output / OUT_OF_FOLD}"
        )
        return
    if outcome.views is not None:
        each = ", ".join(f"{view} {_told(dice)}" for view, dice in outcome.views.items())
        mean = "" if outcome.best_dice is None else f"; Dice together {outcome.best_dice:.4f}, of all voxels"
        out.print(
            f"Trained {len(outcome.views)} views: {each}{mean}. Together they are one model, {output}; how much each "
            f"counts for each structure is in {output / VIEWS}"
        )
        return
    best = "no validation Dice" if outcome.best_dice is None else f"best validation Dice {outcome.best_dice:.4f}"
    out.print(f"Trained: {best}; model in {output / 'best'}, the run on a page in {output / 'summary.html'}")


def _told(dice: float | None) -> str:
    return "-" if dice is None else f"{dice:.4f}"


def _smoothed(before: float | None, now: float) -> float:
    return now if before is None else SMOOTHING * before + (1 - SMOOTHING) * now
