"""Optimiser and learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from tomoseg.config import OptimizerConfig, ScheduleConfig
from tomoseg.training.muon import Muon


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> Optimizer:
    """Build the optimiser that the settings name."""
    if config.kind == "muon":
        return Muon(parameters, config)
    if config.kind == "sgd":
        return SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
            fused=True,
        )
    kind = Adam if config.kind == "adam" else AdamW
    return kind(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


class LearningRate:
    """Schedule of the learning rate relative to its largest, by the budget used or the validations.

    Args:
        config: The schedule.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.plateau_share = 1.0
        self._best = -math.inf
        self._stalled = 0

    def share(self, progress: float) -> float:
        """Return the fraction of the largest learning rate.

        Args:
            progress: Fraction of the budget used, 0 to 1.
        """
        if self.config.kind == "plateau":
            return self.plateau_share
        if self.config.kind == "constant":
            return 1.0
        warmup = self.config.warmup_share
        if progress < warmup:
            return max(progress / warmup, 1e-3)
        done = min(1.0, (progress - warmup) / (1 - warmup))
        if self.config.kind == "polynomial":
            return (1 - done) ** self.config.power
        return 0.5 * (1 + math.cos(math.pi * done))

    def validated(self, dice: float) -> None:
        """Record a validation: `plateau` lowers the rate after more than `patience` without improvement."""
        if dice > self._best + 1e-4:
            self._best, self._stalled = dice, 0
            return
        self._stalled += 1
        if self._stalled > self.config.patience:
            self.plateau_share *= self.config.factor
            self._stalled = 0

    def state(self) -> dict[str, float]:
        """Return the state for resuming."""
        return {"plateau_share": self.plateau_share, "best": self._best, "stalled": self._stalled}

    def restore(self, state: dict[str, float]) -> None:
        """Restore the result of `state`."""
        self.plateau_share, self._best, self._stalled = state["plateau_share"], state["best"], int(state["stalled"])


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
