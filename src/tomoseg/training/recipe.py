"""The training loop, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomoseg.config import SamplingConfig, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.inference.device import fixed_algorithms
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_cases
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.augmentation import network_input
from tomoseg.training.build import build_run
from tomoseg.training.curriculum import easiest_slices
from tomoseg.training.learner import CustomLoss
from tomoseg.training.listener import Beginning, Listener, StepReport, TrainingOutcome
from tomoseg.training.losses import LossNormaliser, Targets
from tomoseg.training.optimisation import set_learning_rate
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.training.run import Run, warnings_of
from tomoseg.training.run_folder import RunFolder, environment_of
from tomoseg.training.sampling import Draw, draw_epoch
from tomoseg.training.slices import Batch, DrawnSlices
from tomoseg.version import __version__

SAVE_MINUTES = 3.0
"""Minutes between saves of the state within an epoch, the most that an interruption costs."""


def train(
    data: Preprocessed,
    config: TrainConfig,
    folder: RunFolder,
    listener: Listener | None = None,
    loss: CustomLoss | None = None,
    ranks: Ranks = ALONE,
) -> TrainingOutcome:
    """Train and validate until the budget is used; resume where an earlier call ended.

    Args:
        data: The preprocessed dataset.
        config: The settings.
        folder: The run folder, written by the first process.
        listener: Callbacks that follow training and may stop it.
        loss: A custom loss instead of the configured one.
        ranks: The processes that train together, each of which calls this.

    Raises:
        DatasetError: If there are no training cases, or no structure is annotated in them.
        TrainingError: If the loss is not finite, or the state to resume from does not fit.
    """
    listener = listener or Listener()
    with fixed_algorithms(deterministic=config.deterministic):
        saved = ranks.first(folder.load_state() if ranks.is_first else None)
        if saved is not None:  # the state replaces a warm start, whose folder may be gone
            config = config.model_copy(update={"warm_start": None})
        listener.on_stage("building the network")
        run = build_run(data, config, loss, ranks)
        begin(run, folder, listener, saved)
        while not run.finished:
            if run.progress < 1 and not train_epoch(run, folder, listener):
                return stopped(run, folder)
            if not end_epoch(run, folder, listener):
                return stopped(run, folder)
        return TrainingOutcome(True, run.state.history, run.state.best_dice)


def stopped(run: Run, folder: RunFolder) -> TrainingOutcome:
    """Save the state from which the run can be resumed, and return the outcome so far."""
    folder.save_state(run.saved())
    return TrainingOutcome(False, run.state.history, run.state.best_dice)


def begin(run: Run, folder: RunFolder, listener: Listener, saved: dict[str, Any] | None) -> None:
    """Report warnings and facts of the run, and restore a saved state if there is one.

    Raises:
        DatasetError: If no structure is annotated.
        TrainingError: If the state does not fit.
    """
    for message in warnings_of(run):
        listener.on_warning(message)
    if saved is not None:
        run.restore(saved)
    environment = environment_of(run.device, run.dtype, run.ranks.count)
    folder.save_settings()
    folder.save_environment(environment)
    listener.on_begin(Beginning(run.facts(), environment, list(run.state.history), str(run.budget)))


def train_epoch(run: Run, folder: RunFolder, listener: Listener) -> bool:
    """Train the rest of the epoch; return False if it was asked to stop."""
    config, state = run.config, run.state
    run.tick()  # excludes the listeners' time from the first step
    run.begin_epoch()
    left = epoch_draws(run)[state.step * run.slices_per_step :]
    saved = state.minutes
    run.shared.train()
    for parts in awaited(run, left, listener):
        if parts is None:
            return False
        rate = config.optimizer.learning_rate * state.rate.share(run.progress)
        set_learning_rate(state.optimizer, rate)
        before = state.minutes
        loss, norm = take_step(run, parts)
        state.losses.append(loss)
        state.norms.append(norm)
        state.step += 1
        run.tick()
        slices, taken = run.ranks.count * sum(len(part.hu) for part in parts), state.minutes - before
        state.slices, state.step_minutes = state.slices + slices, state.step_minutes + taken
        speed = slices / max(60 * taken, 1e-9)
        counts = (state.epoch + 1, state.step, run.budget.steps_per_epoch)
        listener.on_step(
            StepReport(*counts, state.losses[-1], rate, speed, state.minutes, state.best_dice, run.progress)
        )
        if run.ranks.all_gather_values([listener.should_stop()], run.device).any():
            return False
        if run.progress >= 1:
            break
        if state.minutes - saved > SAVE_MINUTES:
            folder.save_state(run.saved())
            saved = state.minutes
    return True


def awaited(run: Run, left: Sequence[Draw], listener: Listener) -> Iterator[list[Batch] | None]:
    """Yield the batches of each step; None at last if it was asked to stop while the next were waited for.

    The first ones take long, since the processes that read them are started.

    Args:
        run: The run.
        left: Draws of the rest of the epoch.
        listener: Callbacks that follow training and may stop it.

    Raises:
        KeyboardInterrupt: If one comes from elsewhere.
    """
    batches = grouped(run.loader.batches(left), run.config.accumulation)
    try:
        while True:
            with waiting(run, listener):
                parts = next(batches, None)
            if parts is None:
                return
            yield parts
    except KeyboardInterrupt:
        if not listener.should_stop():
            raise
        yield None


def waiting(run: Run, listener: Listener) -> AbstractContextManager[None]:
    """Return the context in which a wish to stop is met at once; of several processes, all stop after the same step."""
    return listener.waiting() if run.ranks.count == 1 else nullcontext()


def take_step(run: Run, parts: Sequence[Batch]) -> tuple[float, float]:
    """Take one optimiser step over one batch or several accumulated ones.

    Args:
        run: The network and settings.
        parts: This process's share of each batch.

    Returns:
        The loss, and the norm of its gradient before clipping; not finite if the scaler skips the step.

    Raises:
        TrainingError: If the loss or its gradient is not finite; the weights are left as they were.
    """
    state = run.state
    run.seed_step()
    moved = [part.to(run.device) for part in parts]
    voxels = [Targets(part.packed, part.annotated).annotated_voxels() for part in moved]
    annotated = run.ranks.all_gather_values(voxels, run.device).sum(dim=0)
    state.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part, annotated_in_part in zip(moved, annotated, strict=True):
        normaliser = LossNormaliser(int(annotated_in_part), int(annotated.sum()), run.ranks)
        with nullcontext() if part is moved[-1] else run.without_exchange():
            value = batch_loss(run, run.shared, part, normaliser, augment=run.config.augmentation.enabled)
            state.scaler.scale(value * run.ranks.count).backward()  # gradients are averaged over processes
        total += value.item()
    total = run.ranks.all_gather_values([total], run.device).sum().item()
    if not math.isfinite(total):
        raise TrainingError(f"expected a finite loss, got {total} at {_where(run)}; {_NAN_ADVICE}")
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(state.learner.parameters(), run.config.optimizer.clip_norm or math.inf)
    if not state.scaler.is_enabled() and not torch.isfinite(norm):  # a scaler skips such a step and reduces its scale
        raise TrainingError(f"expected a finite gradient, got norm {norm.item()} at {_where(run)}; {_NAN_ADVICE}")
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.average is not None:
        state.average.update_parameters(state.network)
    return total, norm.item()


def batch_loss(
    run: Run, learner: nn.Module, batch: Batch, normaliser: LossNormaliser, *, augment: bool
) -> Float[Tensor, ""]:
    """Compute the loss of one batch on its device.

    Args:
        run: The run with its settings.
        learner: The network and its loss.
        batch: Slices as read.
        normaliser: The voxel counts that the loss is divided by.
        augment: Augment the slices first.
    """
    images, packed = network_input(batch, run.config, augment=augment)
    targets = Targets(packed, batch.annotated, run.pos_weight if learner.training else None, run.weights)
    return cast(Tensor, learner(images, targets, normaliser))


def end_epoch(run: Run, folder: RunFolder, listener: Listener) -> bool:
    """Validate if due, write the epoch's metrics, keep the best model, save the state.

    Returns:
        False if it was asked to stop during validation; the state is then that after the epoch's last step.

    Raises:
        KeyboardInterrupt: If one comes from elsewhere.
    """
    state = run.state
    run.tick()
    validated: dict[str, Any] = {}
    if run.validation and ((state.epoch + 1) % run.config.validate_every == 0 or run.progress >= 1):
        began = state.minutes
        try:
            validated = _record_of_validation(*validate(run, listener))
        except KeyboardInterrupt:
            if not listener.should_stop():
                raise
            return False
        run.tick()
        state.validation_minutes = state.minutes - began
    state.epoch, state.step = state.epoch + 1, 0
    record = _record_of_training(run) | validated
    state.losses, state.norms, state.slices, state.step_minutes = [], [], 0, 0.0
    keep_best(run, folder, record)
    state.history.append(record | {"minutes": round(state.minutes, 3)})
    state.history[-1]["minutes_left"] = round(run.budget.minutes_left(state), 3)  # this validation may be the last
    folder.save_metrics(state.history)
    folder.save_state(run.saved())
    listener.on_epoch(state.history[-1])
    return True


def keep_best(run: Run, folder: RunFolder, record: dict[str, Any]) -> None:
    """Save the model if the epoch's validation is the best so far, or if there is no Dice to choose by.

    Args:
        run: The run; its learning rate and best Dice are updated.
        folder: The run folder.
        record: The epoch's metrics.
    """
    state, dice = run.state, record.get("validation_dice")
    if dice is not None:
        state.rate.validated(dice)
        if state.best_dice is None or dice > state.best_dice:
            state.best_dice = dice
            folder.save_best(_model(run, record))
    elif state.best_dice is None and ("validation_loss" in record or not run.validation):  # keep the newest
        folder.save_best(_model(run, record))


def validate(run: Run, listener: Listener) -> tuple[float, Summary]:
    """Return the loss on fixed slices of the validation cases, and scores of whole volumes on the scans' own grids.

    The processes share slices and cases; the result does not depend on their number.

    Raises:
        KeyboardInterrupt: If it is asked to stop before the last case, unless several processes train together.
    """
    listener.on_stage("validating")
    with waiting(run, listener):
        mean_loss = validation_loss(run, run.validation)
        scores = _scores(run, listener)
    run.shared.train()
    return mean_loss, summarise([score for each in run.ranks.gather(scores) for score in each], run.data.labels)


def _scores(run: Run, listener: Listener) -> list[CaseScore]:
    """Return this process's share of the scores of the validation cases.

    Raises:
        KeyboardInterrupt: If it is asked to stop before the last one, unless several processes train together.
    """
    compute = Compute(engine="torch", device=str(run.device), precision=run.config.precision)
    predictor = Predictor(Model(run.record, run.state.ema_or_live), compute)
    mine = run.ranks.share(run.validation)
    scores: list[CaseScore] = []

    def on_case(score: CaseScore) -> None:
        scores.append(score)
        listener.on_validated(len(scores), len(mine))
        if run.ranks.count == 1 and len(scores) < len(mine) and listener.should_stop():
            raise KeyboardInterrupt

    return score_cases(predictor, mine, on_case)


@torch.no_grad()
def validation_loss(run: Run, cases: Sequence[PreprocessedCase]) -> float:
    """Return the mean loss on slices drawn uniformly from the validation cases, the same each time."""
    learner = run.ema_or_live_learner.eval()
    size = run.config.batch_size
    uniform = SamplingConfig(slices_per_case=run.config.sampling.slices_per_case, structure_share=0.0)
    draws = draw_epoch([case.record for case in cases], uniform, run.config.seed, 0)
    mine = run.ranks.share([draws[first : first + size] for first in range(0, len(draws), size)])
    placed = run.config.network.position
    slices = DrawnSlices(cases, len(run.data.labels), run.size, run.reach, centred=True, placed=placed)
    weighted = []
    for batch_draws in mine:
        batch = slices.collate([slices[draw] for draw in batch_draws]).to(run.device)
        normaliser = LossNormaliser.of(Targets(batch.packed, batch.annotated))
        weighted.append(len(batch.hu) * batch_loss(run, learner, batch, normaliser, augment=False).item())
    return sum(value for each in run.ranks.gather(weighted) for value in each) / len(draws)


def epoch_draws(run: Run) -> list[Draw]:
    """Draw all slices of the epoch, in order; independent of anything that changes within the epoch."""
    records, share = [case.record for case in run.cases], run.curriculum_share
    allowed = None if share is None else easiest_slices(records, share)
    return draw_epoch(records, run.config.sampling, run.config.seed, run.state.epoch, allowed)


def grouped(batches: Any, size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` batches; the last may be shorter."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _record_of_training(run: Run) -> dict[str, Any]:
    state, losses = run.state, run.state.losses
    norms = [norm for norm in state.norms if math.isfinite(norm)]  # without skipped steps
    record: dict[str, Any] = {
        "epoch": state.epoch,
        "steps": len(losses),
        "train_loss": float(np.mean(losses)) if losses else None,
        "learning_rate": state.optimizer.param_groups[0]["lr"],
        "gradient_norm": float(np.mean(norms)) if norms else None,
        "slices_per_second": round(state.slices / (60 * state.step_minutes), 3) if state.step_minutes else None,
    }
    share = run.curriculum_share
    return record if share is None else record | {"curriculum_share": share}


def _record_of_validation(loss: float, summary: Summary) -> dict[str, Any]:
    return {
        "validation_loss": loss,
        "validation_dice": summary.dice,
        "validation_iou": summary.iou,
        "dice": {row.structure: row.dice for row in summary.structures},
    }


def _model(run: Run, record: dict[str, Any]) -> Model:
    provenance = {
        "tomoseg": __version__,
        "seed": run.config.seed,
        "training_cases": len(run.cases),
        "epoch": record["epoch"],
        "minutes": round(run.state.minutes, 2),
    }
    scores = {key: record[key] for key in ("validation_dice", "validation_iou", "dice") if key in record}
    return Model(
        ModelRecord(**{**run.record.__dict__, "provenance": provenance, "scores": scores}), run.state.ema_or_live
    )


_NAN_ADVICE = "lower optimizer.learning_rate, use precision fp32, or look at these cases; the last good state is kept"


def _where(run: Run) -> str:
    state = run.state
    draws = epoch_draws(run)[state.step * run.slices_per_step :][: run.slices_per_step]
    names = sorted({run.cases[draw.case].name for draw in draws})
    return f"epoch {state.epoch + 1}, step {state.step + 1}, cases {', '.join(names)}"
