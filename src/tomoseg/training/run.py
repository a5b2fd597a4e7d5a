"""The state of a training run, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.models.folder import ModelRecord
from tomoseg.networks.build import set_prior_bias
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.optimisation import LearningRate, build_optimizer
from tomoseg.training.sampling import emphasis_of, emphasised, patch_size, structure_frequencies
from tomoseg.training.slices import DrawnSlices, EpochLoader


@dataclass(frozen=True)
class Step:
    """Told after each step of the optimiser."""

    epoch: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    slices_per_second: float
    minutes: float
    dice: float | None


@dataclass(frozen=True)
class Listener:
    """Who is told how training goes, and who may end it early.

    Attributes:
        on_step: Called after each step.
        on_epoch: Called with each epoch's line of metrics.
        on_validated: Called with cases scored so far and in all.
        should_stop: Asked after each step; a run that is stopped resumes where it was.
    """

    on_step: Callable[[Step], None] = lambda step: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None
    on_validated: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        finished: False if it was stopped early and can be resumed.
        history: One record an epoch.
        best_dice: Best mean validation Dice; None without validation cases.
    """

    finished: bool
    history: list[dict[str, Any]]
    best_dice: float | None


class Run:
    """The state of a run: everything that must survive an interruption.

    Args:
        data: The preprocessed dataset.
        config: The settings.

    Raises:
        DatasetError: If there are no training cases.
        TrainingError: If the network does not take slices.
    """

    def __init__(self, data: Preprocessed, config: TrainConfig) -> None:
        self.data = data
        if config.network.dims != 2:
            raise TrainingError(
                f"expected network.dims 2, since training reads slices, got {config.network.dims}; use 2"
            )
        self.config = config
        self.cases = data.split("train")
        self.validation = [case for case in data.cases if case.split == "validation"]
        self.device = choose_device(config.device)
        self.dtype = autocast_dtype(config.precision, self.device)
        self.record = ModelRecord(data.labels, config.network, data.grid, config.windows_hu)
        torch.manual_seed(config.seed)
        self.network = self.record.build()
        records = [case.record for case in self.cases]
        frequencies = structure_frequencies(records, len(data.labels))
        if config.network.prior_bias:
            emphasis = emphasis_of(frequencies, config.loss.emphasis_power)
            set_prior_bias(self.network, emphasised(frequencies, emphasis))
        self.network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._frequencies = frequencies
        self.features = torch.compile(self.network.features) if config.compile else self.network.features
        self.optimizer = build_optimizer(self.network.parameters(), config.optimizer)
        self.rate = LearningRate(config.schedule)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.size = patch_size(records, config.sampling, self.network.stride)
        slices = DrawnSlices(self.cases, len(data.labels), self.size)
        self.loader = EpochLoader(slices, config, self.device)
        self.epoch, self.step, self.minutes, self.validation_minutes = 0, 0, 0.0, 0.0
        self.losses: list[float] = []
        self.history: list[dict[str, Any]] = []
        self.best_dice: float | None = None
        self._began = time.monotonic()

    def tick(self) -> None:
        """Add the time since the last tick."""
        now = time.monotonic()
        self.minutes += (now - self._began) / 60
        self._began = now

    @property
    def progress(self) -> float:
        """How much of the budget is used, 0 to 1; the last validation is part of the minutes."""
        share = (self.epoch + self.step / self.steps_per_epoch) / self.config.epochs
        if self.config.minutes is not None:
            share = max(share, self.minutes / max(self.config.minutes - self.validation_minutes, 1e-9))
        return min(share, 1.0)

    @property
    def emphasis(self) -> torch.Tensor | None:
        """How much each structure's own voxels weigh now, `(C,)`; None once all weigh alike.

        It fades over the budget: rare structures are found first, and their size is right in the end.
        """
        power = self.config.loss.emphasis_power * (1 - self.progress)
        if power <= 0:
            return None
        return torch.tensor(emphasis_of(self._frequencies, power), dtype=torch.float32, device=self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch; the last one may have fewer slices."""
        return -(-len(self.cases) * self.config.sampling.slices_per_case // self.slices_per_step)

    @property
    def slices_per_step(self) -> int:
        """Slices in one step of the optimiser."""
        return self.config.batch_size * self.config.accumulation

    def state(self) -> dict[str, Any]:
        """Everything as tensors and plain values."""
        return {
            "learned_from": self._learned_from(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "counters": (self.epoch, self.step, self.minutes, self.validation_minutes),
            "losses": self.losses,
            "history": self.history,
            "best_dice": self.best_dice,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`.

        Raises:
            TrainingError: If the state is of another dataset or network.
        """
        if state["learned_from"] != self._learned_from():
            raise TrainingError(
                f"expected the dataset that this run began with, got other structures or training cases in "
                f"{self.data.folder}; use that dataset or another run folder"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"expected the state of this network, got: {reason}; use another run folder") from None
        self.rate.restore(state["rate"])
        if state["scaler"]:  # empty where the run was in another precision than fp16 before
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        self.epoch, self.step, self.minutes, self.validation_minutes = state["counters"]
        self.losses, self.history, self.best_dice = state["losses"], state["history"], state["best_dice"]

    def _learned_from(self) -> list[list[str]]:
        """Structures and training cases: the draws depend on both."""
        return [list(self.data.labels.names), [case.name for case in self.cases]]
