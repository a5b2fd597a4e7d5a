"""The training loop, top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomoseg import __version__
from tomoseg.config import Compute, SamplingConfig, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.evaluation.cases import score_cases
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.inference.predictor import Predictor
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.networks.packed import unpack_bits
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.augmentation import apply_changes, draw_change
from tomoseg.training.losses import Targets, fused_loss
from tomoseg.training.optimisation import set_learning_rate
from tomoseg.training.run import Listener, Outcome, Run, Step
from tomoseg.training.run_folder import RunFolder
from tomoseg.training.sampling import draw_epoch
from tomoseg.training.slices import Batch, DrawnSlices, EpochLoader, windowed

SAVE_MINUTES = 3.0
"""How often the state is saved within an epoch: what a power cut may cost."""

CustomLoss = Callable[[Float[Tensor, "n c x y"], Bool[Tensor, "n c x y"], Bool[Tensor, "n c"]], Float[Tensor, ""]]
"""A loss of one's own: logits, masks and known structures to a scalar."""


def train(
    data: Preprocessed,
    config: TrainConfig,
    folder: RunFolder,
    listener: Listener | None = None,
    loss: CustomLoss | None = None,
) -> Outcome:
    """Train, validating as it goes, until the budget is used; go on where an earlier call ended.

    Args:
        data: What to learn.
        config: How.
        folder: Where the run is kept.
        listener: Who is told.
        loss: A loss of one's own instead of the configured one.

    Raises:
        DatasetError: If there are no training cases.
        TrainingError: If the loss is not finite, or the state to resume from does not fit.
    """
    listener = listener or Listener()
    run = Run(data, config)
    folder.save_environment(run.device, run.dtype)
    state = folder.load_state()
    if state is not None:
        run.restore(state)
    while run.progress < 1 or run.step > 0:
        if run.progress < 1 and not train_epoch(run, folder, listener, loss):
            folder.save_state(run.state())
            return Outcome(False, run.history, run.best_dice)
        end_epoch(run, folder, listener, loss)
    return Outcome(True, run.history, run.best_dice)


def train_epoch(run: Run, folder: RunFolder, listener: Listener, loss: CustomLoss | None) -> bool:
    """Step through what is left of the epoch; False if someone asked to stop."""
    config = run.config
    draws = draw_epoch([case.record for case in run.cases], config.sampling, config.seed, run.epoch)
    left = draws[run.step * run.slices_per_step :]
    saved = run.minutes
    run.network.train()
    for parts in grouped(run.loader.batches(left), config.accumulation):
        rate = config.optimizer.learning_rate * run.rate.share(run.progress)
        set_learning_rate(run.optimizer, rate)
        before = run.minutes
        run.losses.append(take_step(run, parts, loss))
        run.step += 1
        run.tick()
        speed = sum(len(part.hu) for part in parts) / max(60 * (run.minutes - before), 1e-9)
        counts = (run.epoch + 1, run.step, run.steps_per_epoch)
        listener.on_step(Step(*counts, run.losses[-1], rate, speed, run.minutes, run.best_dice))
        if listener.should_stop():
            return False
        if run.progress >= 1:
            break
        if run.minutes - saved > SAVE_MINUTES:
            folder.save_state(run.state())
            saved = run.minutes
    return True


def take_step(run: Run, parts: Sequence[Batch], loss: CustomLoss | None = None) -> float:
    """One step of the optimiser over one batch or several accumulated ones; returns the loss.

    Raises:
        TrainingError: If the loss or its gradient is not finite; the weights are left as they were.
    """
    moved = [part.to(run.device) for part in parts]
    known_voxels = sum(Targets(part.packed, part.known).known_voxels() for part in moved)
    run.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part in moved:
        value = batch_loss(run, part, known_voxels, augment=run.config.augmentation.enabled, loss=loss)
        if not torch.isfinite(value):
            raise TrainingError(f"expected a finite loss, got {value.item()} at {_where(run, parts)}; {_NAN_ADVICE}")
        run.scaler.scale(value).backward()
        total += value.item()
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), run.config.optimizer.clip_norm or math.inf)
    if not run.scaler.is_enabled() and not torch.isfinite(norm):  # a scaler skips such a step and scales less
        raise TrainingError(
            f"expected a finite gradient, got norm {norm.item()} at {_where(run, parts)}; {_NAN_ADVICE}"
        )
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return total


def batch_loss(
    run: Run, batch: Batch, known_voxels: int, *, augment: bool, loss: CustomLoss | None = None
) -> Float[Tensor, ""]:
    """Loss of one batch on its device.

    Args:
        run: The network and settings.
        batch: Slices as read.
        known_voxels: Of all batches of the step.
        augment: Change the slices at random first.
        loss: A loss of one's own instead of the configured one.
    """
    images, packed = windowed(batch.hu, run.config.windows_hu), batch.packed
    if augment:
        changes = [draw_change(key, run.config.augmentation, run.size) for key in batch.keys]
        images, packed = apply_changes(images, packed, changes)
    targets = Targets(packed, batch.known, run.emphasis if run.network.training else None)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
        features = run.features(images)
        if loss is None:
            return fused_loss(run.network.head, features, targets, run.config.loss, known_voxels)
        logits = run.network.head(features).float()
    share = targets.known_voxels() / max(known_voxels, 1)
    return loss(logits, unpack_bits(packed, len(run.data.labels)), batch.known) * share


def end_epoch(run: Run, folder: RunFolder, listener: Listener, loss: CustomLoss | None = None) -> None:
    """Validate when it is time, write the epoch's metrics, keep the best model, save the state."""
    run.tick()
    run.epoch, run.step = run.epoch + 1, 0
    record: dict[str, Any] = {
        "epoch": run.epoch,
        "train_loss": float(np.mean(run.losses)) if run.losses else None,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
    }
    run.losses = []
    if run.validation and (run.epoch % run.config.validate_every == 0 or run.progress >= 1):
        began = run.minutes
        validation, summary = validate(run, listener, loss)
        run.tick()
        run.validation_minutes = run.minutes - began
        record |= {"validation_loss": validation, "validation_dice": summary.dice, "validation_iou": summary.iou}
        record |= {"dice": {row.structure: row.dice for row in summary.structures}}
        if summary.dice is not None:
            run.rate.validated(summary.dice)
        if run.best_dice is None or (summary.dice or 0.0) > run.best_dice:
            run.best_dice = summary.dice or 0.0
            folder.save_best(_model(run, record))
    elif not run.validation:
        folder.save_best(_model(run, record))
    run.history.append(record | {"minutes": round(run.minutes, 3)})
    folder.save_history(run.history)
    folder.save_state(run.state())
    listener.on_epoch(run.history[-1])


def validate(run: Run, listener: Listener, loss: CustomLoss | None = None) -> tuple[float, Summary]:
    """Loss on fixed slices of the validation cases, and scores of their whole volumes on their own grids."""
    mean_loss = validation_loss(run, run.validation, loss)
    model = Model(run.record, run.network)
    config = run.config
    predictor = Predictor(model, **vars(Compute("torch", str(run.device), config.precision)))
    done = iter(range(1, len(run.validation) + 1))
    scores = score_cases(
        predictor, run.validation, lambda score: listener.on_validated(next(done), len(run.validation))
    )
    run.network.train()
    return mean_loss, summarise(scores, run.data.labels)


@torch.no_grad()
def validation_loss(run: Run, cases: Sequence[PreprocessedCase], loss: CustomLoss | None = None) -> float:
    """Mean loss on slices drawn uniformly from the validation cases, the same ones each time."""
    run.network.eval()
    uniform = SamplingConfig(slices_per_case=run.config.sampling.slices_per_case, structure_share=0.0)
    draws = draw_epoch([case.record for case in cases], uniform, run.config.seed, 0)
    slices = DrawnSlices(cases, len(run.data.labels), run.size, centred=True)
    loader = EpochLoader(slices, run.config.model_copy(update={"workers": 0}), run.device)
    weighted, slices_seen = 0.0, 0
    for batch in loader.batches(draws):
        moved = batch.to(run.device)
        known_voxels = Targets(moved.packed, moved.known).known_voxels()
        weighted += len(batch.hu) * batch_loss(run, moved, known_voxels, augment=False, loss=loss).item()
        slices_seen += len(batch.hu)
    return weighted / slices_seen


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
    return Model(ModelRecord(**{**run.record.__dict__, "provenance": provenance, "scores": scores}), run.network)


_NAN_ADVICE = "lower optimizer.learning_rate, use precision fp32, or look at these cases; the last good state is kept"


def _where(run: Run, parts: Sequence[Batch]) -> str:
    draws = draw_epoch([case.record for case in run.cases], run.config.sampling, run.config.seed, run.epoch)
    keys = {key for part in parts for key in part.keys}
    names = sorted({run.cases[draw.case].name for draw in draws if draw.key in keys})
    return f"epoch {run.epoch + 1}, step {run.step + 1}, cases {', '.join(names)}"
