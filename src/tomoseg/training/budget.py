"""How long training goes on: what it may use, and the clock of what it has used."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from tomoseg.config import TrainConfig
from tomoseg.training.ranks import Ranks
from tomoseg.training.state import TrainState

DEFAULT_EPOCHS = 100
"""Where no budget is given."""


@dataclass(frozen=True)
class Budget:
    """What training may use; what is used up first ends it.

    Attributes:
        epochs: At most; None for `DEFAULT_EPOCHS` where nothing else is given.
        steps: Of the optimiser, at most.
        minutes: At most, validations included.
        early_stopping: Validations in a row without a better Dice that end it; None for any number.
        steps_per_epoch: Steps of the optimiser in an epoch; the last one may have fewer slices.
    """

    epochs: int | None
    steps: int | None
    minutes: float | None
    early_stopping: int | None
    steps_per_epoch: int

    @classmethod
    def of(cls, config: TrainConfig, cases: int) -> Budget:
        """That of the settings, for so many training cases."""
        slices_per_step = config.batch_size * config.accumulation
        steps_per_epoch = -(-cases * config.sampling.slices_per_case // slices_per_step)
        return cls(config.epochs, config.steps, config.minutes, config.early_stopping, steps_per_epoch)

    def progress(self, state: TrainState) -> float:
        """How much of the budget is used, 0 to 1; the last validation is part of the minutes."""
        epochs = state.epoch + state.step / self.steps_per_epoch
        shares = []
        if self.minutes is not None:
            shares.append(state.minutes / max(self.minutes - state.validation_minutes, 1e-9))
        if self.steps is not None:
            shares.append((state.epoch * self.steps_per_epoch + state.step) / self.steps)
        if self.epochs is not None or not shares:
            shares.append(epochs / (self.epochs or DEFAULT_EPOCHS))
        return min(max(shares), 1.0)

    def stalled(self, state: TrainState) -> bool:
        """Whether so many validations in a row gave no better Dice that training ends early."""
        if self.early_stopping is None:
            return False
        dice = [dice for record in state.history if (dice := record.get("validation_dice")) is not None]
        return len(dice) - 1 - dice.index(max(dice)) >= self.early_stopping if dice else False

    def finished(self, state: TrainState) -> bool:
        """Whether nothing is left to do."""
        return state.step == 0 and (self.progress(state) >= 1 or self.stalled(state))


class Clock:
    """Adds up the minutes of training, by the first process's clock.

    Args:
        ranks: The processes that train together.
        device: What they exchange it on.
    """

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._began = time.monotonic()

    def tick(self, state: TrainState) -> None:
        """Add the time since the last tick."""
        now = time.monotonic()
        minutes = state.minutes + (now - self._began) / 60
        state.minutes = self._ranks.table([minutes], self._device)[0].item()
        self._began = now
