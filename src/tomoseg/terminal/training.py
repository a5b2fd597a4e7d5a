"""How training goes: a screen of bars in a terminal, a line an epoch anywhere. Nothing here loads PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tomoseg.language.sentences import figures, sentence
from tomoseg.language.words import later, number, percent, pointed, say, say_many
from tomoseg.models.folder import VIEWS
from tomoseg.models.folds import OUT_OF_FOLD
from tomoseg.terminal.console import out, warn_all
from tomoseg.terminal.rows import DONE_OF, Clock, Screen
from tomoseg.training.listener import Beginning, Listener, StepReport, TrainingOutcome, is_first_process

SMOOTHING = 0.95
"""Weight of what was before in the shown loss and speed."""

_SIZES: dict[str, Callable[[Any], str]] = {
    "training cases": lambda count: say_many(count, "1 training case", "{count} training cases"),
    "validation cases": lambda count: say_many(count, "1 validation case", "{count} validation cases"),
    "structures": lambda count: say_many(count, "1 structure", "{count} structures"),
    "parameters": lambda count: say("{count} parameters", count=figures(f"{count:,}")),
}
"""What a run is told by at its beginning, by the name of the fact."""


@contextmanager
def watch(
    should_stop: Callable[[], bool] = lambda: False, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[Listener]:
    """A listener that shows the run: how much of the budget is used, the epoch, loss, Dice, speed and the time left.

    Of several processes that train together only the first shows anything.

    Args:
        should_stop: Of the listener.
        waiting: Of the listener.
    """
    with Screen(shown=is_first_process()) as screen:
        display = _Display(screen)
        yield Listener(
            on_step=display.on_step,
            on_epoch=display.on_epoch,
            on_validated=display.on_validated,
            should_stop=should_stop,
            waiting=waiting,
            on_warning=lambda message: warn_all([message]),
            on_begin=display.on_begin,
            on_stage=display.on_stage,
            on_count=display.on_count,
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
        self._stage = ""
        self._began = time.monotonic()

    def on_part(self, part: str) -> None:
        self._share, self._loss, self._speed, self._first = 0.0, None, None, None
        self._screen.hide("train", "epoch", "validate")
        out.print(sentence(part))

    def on_stage(self, stage: str) -> None:
        """A row of its own until something else is told; alone once the budget is used up."""
        self._began = time.monotonic()
        self._screen.hide("validate")
        if self._share >= 1:
            self._screen.hide("train", "epoch")
            self._screen.numbers = ""
        self._stage = sentence(stage)
        self._screen.show("stage", self._stage, 0, None, "", Clock(0, None, self._began))

    def on_count(self, done: int, total: int) -> None:
        """How much of the stage is done."""
        clock = Clock.of(time.monotonic() - self._began, done / total, done)
        self._screen.show("stage", self._stage, done, total, say(DONE_OF, done=done, total=total), clock)

    def on_begin(self, beginning: Beginning) -> None:
        facts, behind = beginning.facts, len(beginning.history)
        self._budget = beginning.budget
        sizes = ", ".join(told(facts[name]) for name, told in _SIZES.items() if name in facts)
        done = say_many(behind, ", 1 epoch done", ", {count} epochs done") if behind else ""
        out.print(say("Training: {sizes}; budget {budget}", sizes=sizes, budget=self._budget) + done)
        self.on_stage("waiting for the first slices")

    def on_step(self, step: StepReport) -> None:
        if self._first is None or self._first.epoch != step.epoch:
            self._first = step
        self._screen.hide("stage", "validate")
        share = self._share = step.progress
        used = say("{share} of {budget}", share=percent(share), budget=self._budget)
        self._screen.show("train", say("train"), share, 1.0, used, Clock.of(60 * step.minutes, share))
        before = self._first.step - 1
        clock = Clock.of(time.monotonic() - self._began, (step.step - before) / (step.steps - before))
        epoch = say("epoch {epoch}", epoch=step.epoch)
        count = say("step {done} of {total}", done=step.step, total=step.steps)
        self._screen.show("epoch", epoch, step.step, step.steps, count, clock)
        self._loss = _smoothed(self._loss, step.loss)
        self._speed = _smoothed(self._speed, step.slices_per_second)
        self._screen.numbers = say(
            "loss {loss}  best Dice {dice}  {speed} slices/s  learning rate {rate}",
            loss=number(self._loss, 4),
            dice=_told(step.dice),
            speed=f"{self._speed:.0f}",
            rate=pointed(f"{step.learning_rate:.1e}"),
        )

    def on_validated(self, done: int, total: int) -> None:
        self._screen.hide("stage")
        clock = Clock.of(time.monotonic() - self._began, done / total, done)
        count = say("case {done} of {total}", done=done, total=total)
        self._screen.show("validate", say("validate"), done, total, count, clock)

    def on_epoch(self, record: dict[str, Any]) -> None:
        self._screen.hide("stage", "validate")
        minutes = pointed(f"{record['minutes']:6.1f}")
        words = [say("epoch {epoch}", epoch=f"{record['epoch']:>3}"), f"{minutes} min"]
        names = {say("loss"): "train_loss", say("validation loss"): "validation_loss", "Dice": "validation_dice"}
        words += [f"{shown} {number(record[name], 4)}" for shown, name in names.items() if record.get(name) is not None]
        share = record.get("curriculum_share", 1)
        words += [say("drawn from the easiest {share} of slices", share=percent(share))] if share < 1 else []
        of_view = [f"{record['view']:<8}"] if "view" in record else []
        out.print("  ".join(of_view + words))
        self._began = time.monotonic()


def show_outcome(outcome: TrainingOutcome, output: Path) -> None:
    """How training ended and where the model is; of several processes only the first tells."""
    if not is_first_process():
        return
    if not outcome.finished:
        out.print(say("Stopped; the same command continues where it stopped. The state is in {folder}", folder=output))
    elif outcome.folds is not None:
        _show_folds(outcome.folds, outcome.best_dice, output)
    elif outcome.views is not None:
        _show_views(outcome.views, outcome.best_dice, output)
    else:
        best = say("no validation Dice")
        if outcome.best_dice is not None:
            best = say("best validation Dice {dice}", dice=_told(outcome.best_dice))
        places = {"folder": output / "best", "path": output / "summary.html"}
        out.print(say("Trained: {best}; the model is in {folder}, the run on a page in {path}", best=best, **places))


def _show_folds(folds: Sequence[float | None], mean: float | None, output: Path) -> None:
    each = ", ".join(map(_told, folds))
    if mean is not None:
        each += say("; mean validation Dice {dice}", dice=_told(mean))
    out.print(say_many(len(folds), "Trained 1 fold: {scores}.", "Trained {count} folds: {scores}.", scores=each))
    text = later(
        "Together they are one model, {folder}; {masks} has masks of each case by the fold that did not see it"
    )
    out.print(say(text, folder=output, masks=output / OUT_OF_FOLD))


def _show_views(views: Mapping[str, float | None], together: float | None, output: Path) -> None:
    each = ", ".join(f"{view} {_told(dice)}" for view, dice in views.items())
    if together is not None:
        each += say("; Dice of all together {dice}, over all voxels", dice=_told(together))
    out.print(say_many(len(views), "Trained 1 view: {scores}.", "Trained {count} views: {scores}.", scores=each))
    text = later("Together they are one model, {folder}; {path} has the weight of each view for each structure")
    out.print(say(text, folder=output, path=output / VIEWS))


def _told(dice: float | None) -> str:
    return "-" if dice is None else number(dice, 4)


def _smoothed(before: float | None, now: float) -> float:
    return now if before is None else SMOOTHING * before + (1 - SMOOTHING) * now
