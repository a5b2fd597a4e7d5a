"""The state of training, which is saved to resume it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from tomoseg.errors import TrainingError
from tomoseg.networks.network import Network
from tomoseg.training.budget import TrainingProgress
from tomoseg.training.learner import Learner
from tomoseg.training.optimisation import LearningRate
from tomoseg.training.weights import average_of


@dataclass(kw_only=True)
class TrainState(TrainingProgress):
    """Weights, optimiser and progress of training.

    Attributes:
        learner: The network with its loss.
        average: Moving average of the network's weights; None if none is kept.
        optimizer: The optimiser with its moments.
        rate: The learning rate's schedule.
        scaler: The scaler of losses in fp16.
    """

    learner: Learner
    average: AveragedModel | None
    optimizer: Optimizer
    rate: LearningRate
    scaler: torch.amp.GradScaler

    @property
    def network(self) -> Network:
        """The trained network."""
        return self.learner.network

    @property
    def ema_or_live(self) -> Network:
        """The network that is validated and saved: the moving average of the weights (EMA), or the live weights."""
        return self.network if self.average is None else cast(Network, self.average.module)

    def save(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "beside": self.learner.training_only_state(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state(),
            "scaler": self.scaler.state_dict(),
            "counters": (self.epoch, self.step, self.minutes, self.validation_minutes),
            "epoch_began_at": self.epoch_began_at,
            "losses": self.losses,
            "norms": self.norms,
            "speed": (self.slices, self.step_minutes),
            "history": self.history,
            "best_dice": self.best_dice,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the result of `save`; values missing in older states keep their defaults.

        Raises:
            TrainingError: If the state is of another network.
        """
        try:
            self.network.load_state_dict(saved["network"])
            self.learner.restore_training_only_state(saved.get("beside", {}))
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(saved["average"] or average_of(self.network, 0).state_dict())
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"expected the state of this network, got: {reason}; use another run folder") from None
        self.rate.restore(saved["rate"])
        if saved["scaler"]:  # empty if saved in another precision than fp16
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.step, self.minutes, self.validation_minutes = saved["counters"]
        self.epoch_began_at = saved.get("epoch_began_at", self.epoch_began_at)
        self.norms, (self.slices, self.step_minutes) = saved.get("norms", []), saved.get("speed", (0, 0.0))
        self.losses, self.history, self.best_dice = saved["losses"], saved["history"], saved["best_dice"]
