"""How the weights move: optimiser and learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from tomoseg.config import OptimizerConfig, ScheduleConfig


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> Optimizer:
    """The optimiser that the settings name."""
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
    """The learning rate as a share of its largest, over the budget and the validations.

    Args:
        config: Which schedule.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.plateau_share = 1.0
        self._best = -math.inf
        self._stalled = 0

    def share(self, progress: float) -> float:
        """Share of the largest learning rate.

        Args:
            progress: How much of the budget is used, 0 to 1.
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
        """Tell of a validation: a plateau lowers the rate after more than `patience` without improvement."""
        if dice > self._best + 1e-4:
            self._best, self._stalled = dice, 0
            return
        self._stalled += 1
        if self._stalled > self.config.patience:
            self.plateau_share *= self.config.factor
            self._stalled = 0

    def state(self) -> dict[str, float]:
        """What resuming needs."""
        return {"plateau_share": self.plateau_share, "best": self._best, "stalled": self._stalled}

    def restore(self, state: dict[str, float]) -> None:
        """The inverse of `state`."""
        self.plateau_share, self._best, self._stalled = state["plateau_share"], state["best"], int(state["stalled"])


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
