"""The state of a training run, and what is told of it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tomoseg.config import TrainConfig
from tomoseg.errors import ConfigError, DatasetError, TrainingError
from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.labels import unknown_name_message
from tomoseg.models.folder import ModelRecord, count_parameters, load_model
from tomoseg.networks.build import set_prior_bias
from tomoseg.networks.network import MEMORY_FORMAT, Network
from tomoseg.preprocessed.read import Preprocessed, range_of
from tomoseg.training.curriculum import check_difficulties, curriculum_share
from tomoseg.training.learner import CustomLoss, Learner
from tomoseg.training.optimisation import LearningRate, build_optimizer
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.training.sampling import emphasis_of, emphasised, sample_size, structure_frequencies
from tomoseg.training.slices import DrawnSlices, EpochLoader
from tomoseg.training.weights import average_of, warm_start

LEARNED_FROM = ("structures", "training cases", "validation cases", "grid", "masks")
"""What a dataset must not differ in for a run to go on."""

DEFAULT_EPOCHS = 100
"""Where no budget is given."""


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
        on_warning: Called before the first step with what is odd about the dataset.
    """

    on_step: Callable[[Step], None] = lambda step: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None
    on_validated: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    on_warning: Callable[[str], None] = lambda message: None


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


def weights_of(weights: dict[str, float], names: Sequence[str], device: torch.device) -> Float[Tensor, "c"] | None:
    """How much each structure counts in the loss, with a mean of 1; None if all count alike.

    Args:
        weights: Of some structures; the others weigh 1.
        names: The structures in channel order.
        device: Where the losses are.

    Raises:
        ConfigError: If a structure is unknown, or none counts at all.
    """
    for name in weights:
        if name not in names:
            raise ConfigError(f"loss.weights: {unknown_name_message(name, names)}")
    each = torch.tensor([weights.get(name, 1.0) for name in names], device=device)
    if not each.any():
        raise ConfigError("loss.weights: expected a structure that weighs more than 0, got none; give one a weight")
    return None if (each == each[0]).all() else each / each.mean()


class Run:
    """The state of a run: everything that must survive an interruption.

    Args:
        data: The preprocessed dataset.
        config: The settings.
        loss: A loss of one's own instead of the configured one.
        ranks: The processes that train together.

    Raises:
        DatasetError: If there are no training cases, or they lack what the curriculum goes by.
        ConfigError: If a structure is given a weight that the dataset does not have.
        TrainingError: If a batch has no slice for each process.
    """

    def __init__(
        self, data: Preprocessed, config: TrainConfig, loss: CustomLoss | None = None, ranks: Ranks = ALONE
    ) -> None:
        self.data = data
        self.ranks = ranks
        if config.batch_size < ranks.count:
            raise TrainingError(
                f"expected batches of a slice a process or more, got {config.batch_size} for {ranks.count} processes; "
                "raise batch_size, which counts the slices of all processes together"
            )
        self.config = config
        self.cases = data.split("train")
        self.validation = [case for case in data.cases if case.split == "validation"]
        self.device = choose_device(config.device)
        if config.sync_batch_norm and self.device.type != "cuda":
            raise TrainingError(
                f"expected GPUs for sync_batch_norm, got {self.device.type}; use network.normalisation group"
            )
        self.dtype = autocast_dtype(config.precision, self.device)
        records = [case.record for case in self.cases]
        self.size = sample_size(records, config)
        tiled = config.network.model_copy(update={"tile": self.size}) if len(self.size) == 3 else config.network
        self.record = ModelRecord(data.labels, tiled, data.grid, config.windows_hu, trained_on=range_of(self.cases))
        self.reach = self.record.reads.reach
        torch.manual_seed(config.seed)
        self.network = self.record.build()
        if config.curriculum.enabled:
            check_difficulties(records)
        frequencies = structure_frequencies(records, len(data.labels))
        if config.network.prior_bias:
            emphasis = emphasis_of(frequencies, config.loss.emphasis_power)
            set_prior_bias(self.network, emphasised(frequencies, emphasis))
        if config.warm_start is not None:
            warm_start(self.network, self.record, load_model(config.warm_start))
        self.network.to(self.device).to(memory_format=MEMORY_FORMAT[self.network.dims])
        self.network.head.to(memory_format=torch.contiguous_format)  # as its gradients are
        self._frequencies = frequencies
        self.weights = weights_of(config.loss.weights, data.labels.names, self.device)
        self.average = average_of(self.network, config.ema_decay) if config.ema_decay > 0 else None
        if config.sync_batch_norm:
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        self._loss = loss
        self.learner = Learner(self.network, config, self.dtype, loss)
        self.shared: nn.Module = self.learner if ranks.count == 1 else DistributedDataParallel(self.learner)
        self.optimizer = build_optimizer(self.learner.parameters(), config.optimizer)
        self.rate = LearningRate(config.schedule)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        slices = DrawnSlices(self.cases, len(data.labels), self.size, self.reach)
        self.loader = EpochLoader(slices, config, self.device, ranks)
        self.epoch, self.step, self.minutes, self.validation_minutes = 0, 0, 0.0, 0.0
        self.epoch_began_at = 0.0
        self.losses: list[float] = []
        self.history: list[dict[str, Any]] = []
        self.best_dice: float | None = None
        self._began = time.monotonic()

    def tick(self) -> None:
        """Add the time since the last tick, by the first process's clock."""
        now = time.monotonic()
        self.minutes = self.ranks.table([self.minutes + (now - self._began) / 60], self.device)[0].item()
        self._began = now

    @property
    def progress(self) -> float:
        """How much of the budget is used, 0 to 1; the last validation is part of the minutes."""
        epochs = self.epoch + self.step / self.steps_per_epoch
        shares = []
        if self.config.minutes is not None:
            shares.append(self.minutes / max(self.config.minutes - self.validation_minutes, 1e-9))
        if self.config.steps is not None:
            shares.append((self.epoch * self.steps_per_epoch + self.step) / self.config.steps)
        if self.config.epochs is not None or not shares:
            shares.append(epochs / (self.config.epochs or DEFAULT_EPOCHS))
        return min(max(shares), 1.0)

    def begin_epoch(self) -> None:
        """Note the progress at which the epoch begins, unless it is under way: its draws depend on it."""
        if self.step == 0:
            self.epoch_began_at = self.progress

    @property
    def curriculum_share(self) -> float | None:
        """Share of the slices that the epoch draws from, the easiest; None without a curriculum."""
        curriculum = self.config.curriculum
        return curriculum_share(curriculum, self.epoch_began_at) if curriculum.enabled else None

    @property
    def stalled(self) -> bool:
        """Whether so many validations in a row gave no better Dice that training ends early."""
        if self.config.early_stopping is None:
            return False
        dice = [dice for record in self.history if (dice := record.get("validation_dice")) is not None]
        return len(dice) - 1 - dice.index(max(dice)) >= self.config.early_stopping if dice else False

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.step == 0 and (self.progress >= 1 or self.stalled)

    @property
    def kept_learner(self) -> Learner:
        """The loss of the network that is kept."""
        if self.average is None:
            return self.learner
        return Learner(self.kept, self.config, self.dtype, self._loss)

    @property
    def kept(self) -> Network:
        """The network that is validated and kept: the running mean of the weights, where there is one."""
        return self.network if self.average is None else cast(Network, self.average.module)

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

    def check_structures(self) -> list[str]:
        """Warnings of structures that cannot be learned, by name.

        Raises:
            DatasetError: If there is nothing to learn at all.
        """
        if not any(case.record.annotated for case in self.cases):
            raise DatasetError(
                f"{self.data.folder}: expected a training case with an annotated structure, got none in "
                f"{len(self.cases)}; preprocess a dataset with masks"
            )
        pairs = zip(self.data.labels.names, self._frequencies, strict=True)
        never = [name for name, frequency in pairs if frequency == 0]
        return [f"no training case has {', '.join(never)}; the model will not find them"] if never else []

    def check_curriculum(self) -> list[str]:
        """A warning where the budget is over before a curriculum has moved on."""
        epochs, steps, until = self.config.epochs, self.config.steps, self.config.curriculum.until
        budget = min(epochs or math.inf, steps / self.steps_per_epoch if steps else math.inf)
        if not self.config.curriculum.enabled or until * budget >= 2:
            return []
        return [
            f"the curriculum moves on as an epoch begins, and of a budget of {budget:.1f} epochs it has {until:g}; for "
            "a gentle rise lower sampling.slices_per_case, so that epochs are shorter, or train longer"
        ]

    def facts(self) -> dict[str, object]:
        """What a page about the run says of it."""
        share = self.curriculum_share
        return {
            "dataset": self.data.folder,
            "structures": len(self.data.labels),
            "training cases": len(self.cases),
            "validation cases": len(self.validation),
            "voxels of a sample": " x ".join(map(str, self.size)),
            "parameters": f"{count_parameters(self.network):,}",
            **({} if share is None else {"curriculum": f"{share:.0%} of the slices"}),
        }

    def without_exchange(self) -> AbstractContextManager[None]:
        """Gradients in the block stay in this process: there are more to come in the step."""
        return self.shared.no_sync() if isinstance(self.shared, DistributedDataParallel) else nullcontext()

    def seed_step(self) -> None:
        """Seed what is random in the network by the step, so that it is the same in a run that was interrupted."""
        words = np.random.SeedSequence((self.config.seed, self.epoch, self.step, self.ranks.rank)).generate_state(2)
        torch.manual_seed(int(words.view(np.uint64)[0] >> np.uint64(1)))

    def state(self) -> dict[str, Any]:
        """Everything as tensors and plain values."""
        return {
            "learned_from": self._learned_from(),
            "network": self.network.state_dict(),
            "beside": self.learner.beside(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state(),
            "scaler": self.scaler.state_dict(),
            "counters": (self.epoch, self.step, self.minutes, self.validation_minutes),
            "epoch_began_at": self.epoch_began_at,
            "losses": self.losses,
            "history": self.history,
            "best_dice": self.best_dice,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`.

        Raises:
            TrainingError: If the state is of another dataset or network.
        """
        pairs = zip(LEARNED_FROM, state["learned_from"], self._learned_from(), strict=False)  # older states have fewer
        if other := [what for what, before, now in pairs if before != now]:
            raise TrainingError(
                f"expected the dataset that this run began with, got other {' and '.join(other)} in "
                f"{self.data.folder}; use that dataset or another run folder"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.learner.restore_beside(state.get("beside", {}))
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["average"] or average_of(self.network, 0).state_dict())
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"expected the state of this network, got: {reason}; use another run folder") from None
        self.rate.restore(state["rate"])
        if state["scaler"]:  # empty where the run was in another precision than fp16 before
            self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.step, self.minutes, self.validation_minutes = state["counters"]
        self.epoch_began_at = state.get("epoch_began_at", self.progress)  # older states have none
        self.losses, self.history, self.best_dice = state["losses"], state["history"], state["best_dice"]

    def _learned_from(self) -> list[Any]:
        """What `LEARNED_FROM` names: the draws and the scores depend on all of it."""
        both = [*self.cases, *self.validation]
        masks = json.dumps([[case.shape, sorted(case.record.voxels.items())] for case in both])
        of_cases = [[case.name for case in self.cases], [case.name for case in self.validation]]
        grid = self.data.grid.model_dump(mode="json")
        return [list(self.data.labels.names), *of_cases, grid, hashlib.sha256(masks.encode()).hexdigest()]
