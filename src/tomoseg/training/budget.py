"""The budget of training, the clock, and the progress."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from tomoseg.config import TrainConfig
from tomoseg.language.words import pointed, say, say_many
from tomoseg.training.ranks import Ranks

DEFAULT_EPOCHS = 100
"""Number of epochs if no budget is given."""


@dataclass(kw_only=True)
class TrainingProgress:
    """Progress of training.

    Attributes:
        epoch: Completed epochs.
        step: Optimiser steps in the current epoch.
        minutes: Minutes spent so far, validation included.
        validation_minutes: Duration of the last validation.
        epoch_began_at: Fraction of the budget used when the epoch began, on which its draws depend.
        losses: Losses of the epoch's steps.
        norms: Norms of their gradients, before clipping.
        slices: Number of slices read in these steps.
        step_minutes: Duration of these steps.
        history: One record per epoch.
        best_dice: Best mean validation Dice; None before the first validation.
    """

    epoch: int = 0
    step: int = 0
    minutes: float = 0.0
    validation_minutes: float = 0.0
    epoch_began_at: float = 0.0
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    slices: int = 0
    step_minutes: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_dice: float | None = None


@dataclass(frozen=True)
class Budget:
    """Limits of training, of which the first that is reached ends it.

    Attributes:
        epochs: Largest number of epochs; None for `DEFAULT_EPOCHS` if nothing else is given.
        steps: Largest number of optimiser steps.
        minutes: Largest number of minutes, validation included.
        early_stopping: Consecutive validations without a better Dice that end it; None for no limit.
        steps_per_epoch: Optimiser steps per epoch; the last one may have fewer slices.
    """

    epochs: int | None
    steps: int | None
    minutes: float | None
    early_stopping: int | None
    steps_per_epoch: int

    @classmethod
    def of(cls, config: TrainConfig, cases: int) -> Budget:
        """Make the budget of some settings and number of training cases."""
        slices_per_step = config.batch_size * config.accumulation
        steps_per_epoch = -(-cases * config.sampling.slices_per_case // slices_per_step)
        return cls(config.epochs, config.steps, config.minutes, config.early_stopping, steps_per_epoch)

    def __str__(self) -> str:
        """Return the limits in words, in the language of this process.

        Example:
            >>> str(Budget(epochs=3, steps=None, minutes=30, early_stopping=None, steps_per_epoch=10))
            '3 epochs, at most 30 min'
        """
        epochs = self.epochs or (None if self.steps or self.minutes is not None else DEFAULT_EPOCHS)
        words = [] if epochs is None else [say_many(epochs, "1 epoch", "{count} epochs")]
        words += [] if self.steps is None else [say_many(self.steps, "1 step", "{count} steps")]
        words += [] if self.minutes is None else [f"{pointed(f'{self.minutes:g}')} min"]
        return say(", at most ").join(words)

    def progress(self, course: TrainingProgress) -> float:
        """Return the fraction of the budget used, 0 to 1; time for a last validation is reserved from the minutes."""
        epochs = course.epoch + course.step / self.steps_per_epoch
        shares = []
        if self.minutes is not None:
            shares.append(course.minutes / max(self.minutes - course.validation_minutes, 1e-9))
        if self.steps is not None:
            shares.append((course.epoch * self.steps_per_epoch + course.step) / self.steps)
        if self.epochs is not None or not shares:
            shares.append(epochs / (self.epochs or DEFAULT_EPOCHS))
        return min(max(shares), 1.0)

    def stalled(self, course: TrainingProgress) -> bool:
        """Return True if training ends early, for want of a better validation Dice."""
        if self.early_stopping is None:
            return False
        dice = [dice for record in course.history if (dice := record.get("validation_dice")) is not None]
        return len(dice) - 1 - dice.index(max(dice)) >= self.early_stopping if dice else False

    def minutes_left(self, course: TrainingProgress) -> float:
        """Estimate the minutes left at the present speed; early stopping may shorten them."""
        if self.finished(course):
            return 0.0
        progress = self.progress(course)
        return course.minutes * (1 - progress) / progress if progress > 0 else math.inf

    def finished(self, course: TrainingProgress) -> bool:
        """Return True if training is complete."""
        return course.step == 0 and (self.progress(course) >= 1 or self.stalled(course))


class Clock:
    """Accumulates the minutes of training, by the first process's clock.

    Args:
        ranks: The processes that train together.
        device: Device on which they exchange it.
    """

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._began = time.monotonic()

    def tick(self, course: TrainingProgress) -> None:
        """Add the time since the last tick."""
        now = time.monotonic()
        minutes = course.minutes + (now - self._began) / 60
        course.minutes = self._ranks.all_gather_values([minutes], self._device)[0].item()
        self._began = now
