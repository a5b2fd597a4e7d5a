"""A training run: what it learns from and how, which stays, and its state, which changes."""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tomoseg.config import TrainConfig
from tomoseg.errors import DatasetError, TrainingError
from tomoseg.models.folder import ModelRecord, count_parameters
from tomoseg.networks.images import own_input
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.budget import Budget, Clock
from tomoseg.training.curriculum import curriculum_share
from tomoseg.training.learner import CustomLoss, Learner
from tomoseg.training.ranks import Ranks
from tomoseg.training.sampling import pos_weights_of
from tomoseg.training.slices import EpochLoader
from tomoseg.training.state import TrainState

LEARNED_FROM = ("structures", "training cases", "validation cases", "grid", "masks", "voxels")
"""What a dataset must not differ in for a run to go on."""


@dataclass(frozen=True)
class Run:
    """A training run; `build_run` makes one.

    Attributes:
        data: The preprocessed dataset.
        config: The settings.
        ranks: The processes that train together.
        loss: A loss of one's own instead of the configured one.
        cases: What is learned from.
        validation: What is validated with.
        device: Where.
        dtype: What convolutions run in.
        size: Pixels of a training slice, or voxels of a block.
        record: What the model will be.
        frequencies: Share of the voxels that each structure fills.
        weights: How much each structure counts, with a mean of 1; None if all count alike.
        shared: The learner as the processes share it.
        loader: Reads the slices.
        budget: How long it goes on.
        clock: Adds up its minutes.
        state: What has been learned, and how far it has come.
    """

    data: Preprocessed
    config: TrainConfig
    ranks: Ranks
    loss: CustomLoss | None
    cases: list[PreprocessedCase]
    validation: list[PreprocessedCase]
    device: torch.device
    dtype: torch.dtype
    size: tuple[int, ...]
    record: ModelRecord
    frequencies: list[float]
    weights: Float[Tensor, "c"] | None
    shared: nn.Module
    loader: EpochLoader
    budget: Budget
    clock: Clock
    state: TrainState

    @property
    def progress(self) -> float:
        """How much of the budget is used, 0 to 1."""
        return self.budget.progress(self.state)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.budget.finished(self.state)

    @property
    def slices_per_step(self) -> int:
        """Slices in one step of the optimiser."""
        return self.config.batch_size * self.config.accumulation

    @property
    def reach(self) -> int:
        """Slices seen on either side of the one that is segmented."""
        return own_input(self.record.input_spec).reach

    def tick(self) -> None:
        """Add the time since the last tick."""
        self.clock.tick(self.state)

    def begin_epoch(self) -> None:
        """Note the progress at which the epoch begins, unless it is under way: its draws depend on it."""
        if self.state.step == 0:
            self.state.epoch_began_at = self.progress

    @property
    def curriculum_share(self) -> float | None:
        """Share of the slices that the epoch draws from, the easiest; None without a curriculum."""
        curriculum = self.config.curriculum
        return curriculum_share(curriculum, self.state.epoch_began_at) if curriculum.enabled else None

    @property
    def ema_or_live_learner(self) -> Learner:
        """The learner of the network that is validated and saved."""
        state = self.state
        return (
            state.learner if state.average is None else Learner(state.ema_or_live, self.config, self.dtype, self.loss)
        )

    @property
    def pos_weight(self) -> torch.Tensor | None:
        """Current weight of each structure's foreground voxels, `(C,)`; None once all are 1.

        It falls over the budget: rare structures are found early, and are not oversegmented in the end.
        """
        power = self.config.loss.emphasis_power * (1 - self.progress)
        if power <= 0:
            return None
        return torch.tensor(pos_weights_of(self.frequencies, power), dtype=torch.float32, device=self.device)

    def without_exchange(self) -> AbstractContextManager[None]:
        """Gradients in the block stay in this process: there are more to come in the step."""
        return self.shared.no_sync() if isinstance(self.shared, DistributedDataParallel) else nullcontext()

    def seed_step(self) -> None:
        """Seed what is random in the network by the step, so that it is the same in a run that was interrupted."""
        place = (self.config.seed, self.state.epoch, self.state.step, self.ranks.rank)
        words = np.random.SeedSequence(place).generate_state(2)
        torch.manual_seed(int(words.view(np.uint64)[0] >> np.uint64(1)))

    def facts(self) -> dict[str, object]:
        """What a page about the run says of it."""
        return {
            "dataset": self.data.folder,
            "structures": len(self.data.labels),
            "training cases": len(self.cases),
            "validation cases": len(self.validation),
            "voxels of a sample": " x ".join(map(str, self.size)),
            "parameters": f"{count_parameters(self.state.network):,}",
        }

    def saved(self) -> dict[str, Any]:
        """The state and what it was learned from, as tensors and plain values."""
        return {"learned_from": learned_from(self), **self.state.save()}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `saved`.

        Raises:
            TrainingError: If the state is of another dataset or network.
        """
        pairs = zip(LEARNED_FROM, saved["learned_from"], learned_from(self), strict=False)  # older states have fewer
        if other := [what for what, before, now in pairs if None not in (before, now) and before != now]:
            other = [what for what in other if what != "voxels"] or other  # which differ with all else
            raise TrainingError(
                f"expected the dataset that this run began with, got other {' and '.join(other)} in "
                f"{self.data.folder}; use that dataset or another run folder"
            )
        self.state.restore(saved)
        if "epoch_began_at" not in saved:  # in states from before there were curricula
            self.state.epoch_began_at = self.progress


def learned_from(run: Run) -> list[Any]:
    """What `LEARNED_FROM` names: the draws and the scores depend on all of it.

    Masks are shapes and numbers of voxels, voxels what lies in the files: None for a dataset from before that was kept.
    """
    both = [*run.cases, *run.validation]
    masks = json.dumps([[case.shape, sorted(case.record.voxels.items())] for case in both])
    of_cases = [[case.name for case in run.cases], [case.name for case in run.validation]]
    grid = run.data.grid.model_dump(mode="json")
    contents = [case.record.contents for case in both]
    voxels = None if None in contents else hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return [list(run.data.labels.names), *of_cases, grid, hashlib.sha256(masks.encode()).hexdigest(), voxels]


def warnings_of(run: Run) -> list[str]:
    """What is odd about the dataset or the budget.

    Raises:
        DatasetError: If there is nothing to learn at all.
    """
    return [*_of_structures(run), *_of_curriculum(run)]


def _of_structures(run: Run) -> list[str]:
    """Structures that cannot be learned, by name.

    Raises:
        DatasetError: If there is nothing to learn at all.
    """
    if not any(case.record.annotated for case in run.cases):
        raise DatasetError(
            f"{run.data.folder}: expected a training case with an annotated structure, got none in "
            f"{len(run.cases)}; preprocess a dataset with masks"
        )
    pairs = zip(run.data.labels.names, run.frequencies, strict=True)
    never = [name for name, frequency in pairs if frequency == 0]
    return [f"no training case has {', '.join(never)}; the model will not find them"] if never else []


def _of_curriculum(run: Run) -> list[str]:
    """Whether the budget is over before a curriculum has moved on."""
    epochs, steps, until = run.budget.epochs, run.budget.steps, run.config.curriculum.until
    budget = min(epochs or math.inf, steps / run.budget.steps_per_epoch if steps else math.inf)
    if not run.config.curriculum.enabled or until * budget >= 2:
        return []
    return [
        f"the curriculum moves on as an epoch begins, and of a budget of {budget:.1f} epochs it has {until:g}; for "
        "a gentle rise lower sampling.slices_per_case, so that epochs are shorter, or train longer"
    ]
