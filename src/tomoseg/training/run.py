"""A training run: its fixed data and settings, and its changing state."""

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
from tomoseg.language.words import part
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

LEARNED_FROM = (
    part("structures"),
    part("training cases"),
    part("validation cases"),
    part("grid"),
    part("masks"),
    part("voxels"),
)
"""Properties in which the dataset must agree for a run to be resumed."""


@dataclass(frozen=True)
class Run:
    """A training run; `build_run` makes one.

    Attributes:
        data: The preprocessed dataset.
        config: The settings.
        ranks: The processes that train together.
        loss: A custom loss instead of the configured one.
        cases: Training cases.
        validation: Validation cases.
        device: Device of training.
        dtype: Data type of convolutions.
        size: Pixels of a training slice, or voxels of a block.
        record: Description of the model.
        frequencies: Fraction of the voxels that each structure fills.
        weights: Weight of each structure, with a mean of 1; None if all are equal.
        shared: The learner, wrapped for distributed training if there are several processes.
        loader: Reads the slices.
        budget: Limits of training.
        clock: Accumulates its minutes.
        state: Weights, optimiser and progress.
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
        """Fraction of the budget used, 0 to 1."""
        return self.budget.progress(self.state)

    @property
    def finished(self) -> bool:
        """Whether training is complete."""
        return self.budget.finished(self.state)

    @property
    def slices_per_step(self) -> int:
        """Slices per optimiser step."""
        return self.config.batch_size * self.config.accumulation

    @property
    def reach(self) -> int:
        """Neighbouring slices on either side of the segmented one."""
        return own_input(self.record.input_spec).reach

    def tick(self) -> None:
        """Add the time since the last tick."""
        self.clock.tick(self.state)

    def begin_epoch(self) -> None:
        """Record the progress at the beginning of an epoch, on which its draws depend."""
        if self.state.step == 0:
            self.state.epoch_began_at = self.progress

    @property
    def curriculum_share(self) -> float | None:
        """Fraction of the slices, the easiest, that the epoch draws from; None without a curriculum."""
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
        """Do not exchange gradients in the block, since more follow in the step."""
        return self.shared.no_sync() if isinstance(self.shared, DistributedDataParallel) else nullcontext()

    def seed_step(self) -> None:
        """Seed the network's randomness by the step, so that a resumed run is the same."""
        place = (self.config.seed, self.state.epoch, self.state.step, self.ranks.rank)
        words = np.random.SeedSequence(place).generate_state(2)
        torch.manual_seed(int(words.view(np.uint64)[0] >> np.uint64(1)))

    def facts(self) -> dict[str, object]:
        """Return facts of the run by name, for its page."""
        return {
            "dataset": self.data.folder,
            "structures": len(self.data.labels),
            "training cases": len(self.cases),
            "validation cases": len(self.validation),
            "voxels of a sample": " x ".join(map(str, self.size)),
            "parameters": count_parameters(self.state.network),
        }

    def saved(self) -> dict[str, Any]:
        """Return the state, and the data that it belongs to, as tensors and plain values."""
        return {"learned_from": learned_from(self), **self.state.save()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the result of `saved`.

        Raises:
            TrainingError: If the state is of another dataset or network.
        """
        pairs = zip(LEARNED_FROM, saved["learned_from"], learned_from(self), strict=False)  # older states have fewer
        if other := [what for what, before, now in pairs if None not in (before, now) and before != now]:
            other = [what for what in other if what != "voxels"] or other  # voxels differ along with anything else
            raise TrainingError(
                f"expected the dataset that this run was started with, got different {' and '.join(other)} in "
                f"{self.data.folder}; use that dataset or another run folder"
            )
        self.state.restore(saved)
        if "epoch_began_at" not in saved:  # older states
            self.state.epoch_began_at = self.progress


def learned_from(run: Run) -> list[Any]:
    """Return the properties that `LEARNED_FROM` names, on which draws and scores depend.

    Masks are a digest of shapes and voxel counts, voxels one of the files' content; None for older datasets.
    """
    both = [*run.cases, *run.validation]
    masks = json.dumps([[case.shape, sorted(case.record.voxels.items())] for case in both])
    of_cases = [[case.name for case in run.cases], [case.name for case in run.validation]]
    grid = run.data.grid.model_dump(mode="json")
    contents = [case.record.contents for case in both]
    voxels = None if None in contents else hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return [list(run.data.labels.names), *of_cases, grid, hashlib.sha256(masks.encode()).hexdigest(), voxels]


def warnings_of(run: Run) -> list[str]:
    """Return warnings about the dataset and the budget.

    Raises:
        DatasetError: If no structure is annotated.
    """
    return [*_of_structures(run), *_of_curriculum(run)]


def _of_structures(run: Run) -> list[str]:
    """Warn about structures that no training case has.

    Raises:
        DatasetError: If no structure is annotated.
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
    """Warn if the budget ends before a curriculum has advanced."""
    epochs, steps, until = run.budget.epochs, run.budget.steps, run.config.curriculum.until
    budget = min(epochs or math.inf, steps / run.budget.steps_per_epoch if steps else math.inf)
    if not run.config.curriculum.enabled or until * budget >= 2:
        return []
    return [
        f"the curriculum advances when an epoch starts, and has {until:g} of a budget of {budget:.1f} epochs; "
        "for a gentle rise lower sampling.slices_per_case, so that epochs are shorter, or train longer"
    ]
