"""The training loop, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomoseg.config import SamplingConfig, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.inference.device import fixed_algorithms
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_cases
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.augmentation import network_input
from tomoseg.training.curriculum import easiest_slices
from tomoseg.training.learner import CustomLoss
from tomoseg.training.losses import Scope, Targets
from tomoseg.training.optimisation import set_learning_rate
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.training.run import Listener, Outcome, Run, Step
from tomoseg.training.run_folder import RunFolder
from tomoseg.training.sampling import Draw, draw_epoch
from tomoseg.training.slices import Batch, DrawnSlices
from tomoseg.version import __version__

SAVE_MINUTES = 3.0
"""How often the state is saved within an epoch: what a power cut may cost."""


def train(
    data: Preprocessed,
    config: TrainConfig,
    folder: RunFolder,
    listener: Listener | None = None,
    loss: CustomLoss | None = None,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Train, validating as it goes, until the budget is used; go on where an earlier call ended.

    Args:
        data: What to learn.
        config: How.
        folder: Where the run is kept; the first process writes.
        listener: Who is told; in other processes only asked whether to stop.
        loss: A loss of one's own instead of the configured one.
        ranks: The processes that train together, each of which calls this.

    Raises:
        DatasetError: If there are no training cases, or no structure is annotated in them.
        TrainingError: If the loss is not finite, or the state to resume from does not fit.
    """
    listener = listener or Listener()
    with fixed_algorithms(deterministic=config.deterministic):
        state = ranks.first(folder.load_state() if ranks.is_first else None)
        if state is not None:  # what it started from is in there, and its folder may be gone
            config = config.model_copy(update={"warm_start": None})
        return _train(Run(data, config, loss, ranks), folder, listener, state)


def _train(run: Run, folder: RunFolder, listener: Listener, state: dict[str, Any] | None) -> Outcome:
    ranks = run.ranks
    for message in (*run.check_structures(), *run.check_curriculum()):
        listener.on_warning(message)
    folder.save_environment(run.device, run.dtype, ranks.count)
    if state is not None:
        run.restore(state)
    while not run.finished:
        if run.progress < 1 and not train_epoch(run, folder, listener):
            folder.save_state(run.state())
            return Outcome(False, run.history, run.best_dice)
        end_epoch(run, folder, listener)
    return Outcome(True, run.history, run.best_dice)


def train_epoch(run: Run, folder: RunFolder, listener: Listener) -> bool:
    """Step through what is left of the epoch; False if someone asked to stop."""
    config = run.config
    run.begin_epoch()
    left = epoch_draws(run)[run.step * run.slices_per_step :]
    saved = run.minutes
    run.shared.train()
    for parts in grouped(run.loader.batches(left), config.accumulation):
        rate = config.optimizer.learning_rate * run.rate.share(run.progress)
        set_learning_rate(run.optimizer, rate)
        before = run.minutes
        run.losses.append(take_step(run, parts))
        run.step += 1
        run.tick()
        speed = run.ranks.count * sum(len(part.hu) for part in parts) / max(60 * (run.minutes - before), 1e-9)
        counts = (run.epoch + 1, run.step, run.steps_per_epoch)
        listener.on_step(Step(*counts, run.losses[-1], rate, speed, run.minutes, run.best_dice))
        if run.ranks.table([listener.should_stop()], run.device).any():
            return False
        if run.progress >= 1:
            break
        if run.minutes - saved > SAVE_MINUTES:
            folder.save_state(run.state())
            saved = run.minutes
    return True


def take_step(run: Run, parts: Sequence[Batch]) -> float:
    """One step of the optimiser over one batch or several accumulated ones; returns the loss.

    Args:
        run: The network and settings.
        parts: This process's share of each batch.

    Raises:
        TrainingError: If the loss or its gradient is not finite; the weights are left as they were.
    """
    run.seed_step()
    moved = [part.to(run.device) for part in parts]
    known = run.ranks.table([part.known_voxels() for part in moved], run.device).sum(dim=0)
    run.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part, known_in_part in zip(moved, known, strict=True):
        scope = Scope(int(known_in_part), int(known.sum()), run.ranks)
        with nullcontext() if part is moved[-1] else run.without_exchange():
            value = batch_loss(run, run.shared, part, scope, augment=run.config.augmentation.enabled)
            run.scaler.scale(value * run.ranks.count).backward()  # the mean over processes is taken of gradients
        total += value.item()
    total = run.ranks.table([total], run.device).sum().item()
    if not math.isfinite(total):
        raise TrainingError(f"expected a finite loss, got {total} at {_where(run)}; {_NAN_ADVICE}")
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.learner.parameters(), run.config.optimizer.clip_norm or math.inf)
    if not run.scaler.is_enabled() and not torch.isfinite(norm):  # a scaler skips such a step and scales less
        raise TrainingError(f"expected a finite gradient, got norm {norm.item()} at {_where(run)}; {_NAN_ADVICE}")
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.average is not None:
        run.average.update_parameters(run.network)
    return total


def batch_loss(run: Run, learner: nn.Module, batch: Batch, scope: Scope, *, augment: bool) -> Float[Tensor, ""]:
    """Loss of one batch on its device.

    Args:
        run: The settings.
        learner: The network and its loss.
        batch: Slices as read.
        scope: What the loss is a mean over.
        augment: Change the slices at random first.
    """
    images, packed = network_input(batch, run.config, augment=augment)
    targets = Targets(packed, batch.known, run.emphasis if learner.training else None, run.weights)
    return cast(Tensor, learner(images, targets, scope))


def end_epoch(run: Run, folder: RunFolder, listener: Listener) -> None:
    """Validate when it is time, write the epoch's metrics, keep the best model, save the state."""
    run.tick()
    run.epoch, run.step = run.epoch + 1, 0
    record: dict[str, Any] = {
        "epoch": run.epoch,
        "train_loss": float(np.mean(run.losses)) if run.losses else None,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
    }
    run.losses = []
    if run.curriculum_share is not None:
        record["curriculum_share"] = run.curriculum_share
    if run.validation and (run.epoch % run.config.validate_every == 0 or run.progress >= 1):
        began = run.minutes
        validation, summary = validate(run, listener)
        run.tick()
        run.validation_minutes = run.minutes - began
        record |= {"validation_loss": validation, "validation_dice": summary.dice, "validation_iou": summary.iou}
        record |= {"dice": {row.structure: row.dice for row in summary.structures}}
        if summary.dice is not None:
            run.rate.validated(summary.dice)
        if summary.dice is not None and (run.best_dice is None or summary.dice > run.best_dice):
            run.best_dice = summary.dice
            folder.save_best(_model(run, record))
    if run.best_dice is None and ("validation_loss" in record or not run.validation):  # nothing chooses: the newest
        folder.save_best(_model(run, record))
    run.history.append(record | {"minutes": round(run.minutes, 3)})
    folder.save_history(run.history, run.data.labels, run.facts())
    folder.save_state(run.state())
    listener.on_epoch(run.history[-1])


def validate(run: Run, listener: Listener) -> tuple[float, Summary]:
    """Loss on fixed slices of the validation cases, and scores of their whole volumes on their own grids.

    Every process has a share of the slices and of the cases; the numbers are those of one process.
    """
    mean_loss = validation_loss(run, run.validation)
    predictor = Predictor(
        Model(run.record, run.kept), Compute(engine="torch", device=str(run.device), precision=run.config.precision)
    )
    mine = run.ranks.share(run.validation)
    done = iter(range(1, len(mine) + 1))
    scores = score_cases(predictor, mine, lambda score: listener.on_validated(next(done), len(mine)))
    run.shared.train()
    return mean_loss, summarise([score for each in run.ranks.gather(scores) for score in each], run.data.labels)


@torch.no_grad()
def validation_loss(run: Run, cases: Sequence[PreprocessedCase]) -> float:
    """Mean loss on slices drawn uniformly from the validation cases, the same ones each time."""
    learner = run.kept_learner.eval()
    size = run.config.batch_size
    uniform = SamplingConfig(slices_per_case=run.config.sampling.slices_per_case, structure_share=0.0)
    draws = draw_epoch([case.record for case in cases], uniform, run.config.seed, 0)
    mine = run.ranks.share([draws[first : first + size] for first in range(0, len(draws), size)])
    slices = DrawnSlices(cases, len(run.data.labels), run.size, run.reach, centred=True)
    weighted = []
    for batch_draws in mine:
        batch = slices.collate([slices[draw] for draw in batch_draws]).to(run.device)
        scope = Scope.of(Targets(batch.packed, batch.known))
        weighted.append(len(batch.hu) * batch_loss(run, learner, batch, scope, augment=False).item())
    return sum(value for each in run.ranks.gather(weighted) for value in each) / len(draws)


def epoch_draws(run: Run) -> list[Draw]:
    """All slices of the epoch, in order; they depend on nothing that changes within the epoch."""
    records, share = [case.record for case in run.cases], run.curriculum_share
    allowed = None if share is None else easiest_slices(records, share)
    return draw_epoch(records, run.config.sampling, run.config.seed, run.epoch, allowed)


def grouped(batches: Any, size: int) -> Iterator[list[Batch]]:
    """Lists of so many batches; the last may be shorter."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _model(run: Run, record: dict[str, Any]) -> Model:
    provenance = {
        "tomoseg": __version__,
        "seed": run.config.seed,
        "training_cases": len(run.cases),
        "epoch": record["epoch"],
        "minutes": round(run.minutes, 2),
    }
    scores = {key: record[key] for key in ("validation_dice", "validation_iou", "dice") if key in record}
    return Model(ModelRecord(**{**run.record.__dict__, "provenance": provenance, "scores": scores}), run.kept)


_NAN_ADVICE = "lower optimizer.learning_rate, use precision fp32, or look at these cases; the last good state is kept"


def _where(run: Run) -> str:
    draws = epoch_draws(run)[run.step * run.slices_per_step :][: run.slices_per_step]
    names = sorted({run.cases[draw.case].name for draw in draws})
    return f"epoch {run.epoch + 1}, step {run.step + 1}, cases {', '.join(names)}"
