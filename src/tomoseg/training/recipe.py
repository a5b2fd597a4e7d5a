"""The training loop, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomoseg import __version__
from tomoseg.config import SamplingConfig, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.evaluation.cases import score_cases
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.inference.predictor import Predictor
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.networks.build import set_prior_bias
from tomoseg.networks.packed import unpack_bits
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.augmentation import apply_changes, draw_change
from tomoseg.training.losses import Targets, fused_loss
from tomoseg.training.optimisation import LearningRate, build_optimizer, set_learning_rate
from tomoseg.training.run_folder import RunFolder
from tomoseg.training.sampling import draw_epoch, patch_size, structure_frequencies
from tomoseg.training.slices import Batch, DrawnSlices, make_loader, windowed

SAVE_MINUTES = 3.0
"""How often the state is saved within an epoch: what a power cut may cost."""

CustomLoss = Callable[[Float[Tensor, "n c x y"], Bool[Tensor, "n c x y"], Bool[Tensor, "n c"]], Float[Tensor, ""]]
"""A loss of one's own: logits, masks and known structures to a scalar."""


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
    """

    def __init__(self, data: Preprocessed, config: TrainConfig) -> None:
        self.data = data
        self.config = config
        self.cases = data.split("train")
        self.validation = [case for case in data.cases if case.split == "validation"]
        self.device = choose_device(config.device)
        self.dtype = autocast_dtype(config.precision, self.device)
        self.record = ModelRecord(data.labels, config.network, data.grid, config.windows_hu)
        torch.manual_seed(config.seed)
        self.network = self.record.build()
        records = [case.record for case in self.cases]
        if config.network.prior_bias:
            set_prior_bias(self.network, structure_frequencies(records, len(data.labels)))
        self.network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.features = torch.compile(self.network.features) if config.compile else self.network.features
        self.optimizer = build_optimizer(self.network.parameters(), config.optimizer)
        self.rate = LearningRate(config.schedule)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.size = patch_size(records, config.sampling, self.network.stride)
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
            TrainingError: If the state is of another network.
        """
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"expected the state of this network, got: {reason}; use another run folder") from None
        self.rate.restore(state["rate"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"])
        self.epoch, self.step, self.minutes, self.validation_minutes = state["counters"]
        self.losses, self.history, self.best_dice = state["losses"], state["history"], state["best_dice"]


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
    while run.progress < 1:
        if not train_epoch(run, folder, listener, loss):
            folder.save_state(run.state())
            return Outcome(False, run.history, run.best_dice)
        end_epoch(run, folder, listener)
    return Outcome(True, run.history, run.best_dice)


def train_epoch(run: Run, folder: RunFolder, listener: Listener, loss: CustomLoss | None) -> bool:
    """Step through what is left of the epoch; False if someone asked to stop."""
    config = run.config
    draws = draw_epoch([case.record for case in run.cases], config.sampling, config.seed, run.epoch)
    left = draws[run.step * run.slices_per_step :]
    slices = DrawnSlices(run.cases, left, len(run.data.labels), run.size)
    saved = run.minutes
    run.network.train()
    for parts in grouped(make_loader(slices, config, run.device), config.accumulation):
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
        TrainingError: If the loss is not finite; the weights are left as they were.
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
    if run.config.optimizer.clip_norm is not None:
        nn.utils.clip_grad_norm_(run.network.parameters(), run.config.optimizer.clip_norm)
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
    targets = Targets(packed, batch.known)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
        features = run.features(images)
        if loss is None:
            return fused_loss(run.network.head, features, targets, run.config.loss, known_voxels)
        logits = run.network.head(features).float()
    share = targets.known_voxels() / max(known_voxels, 1)
    return loss(logits, unpack_bits(packed, len(run.data.labels)), batch.known) * share


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
    if run.validation and (run.epoch % run.config.validate_every == 0 or run.progress >= 1):
        began = run.minutes
        loss, summary = validate(run, listener)
        run.tick()
        run.validation_minutes = run.minutes - began
        record |= {"validation_loss": loss, "validation_dice": summary.dice, "validation_iou": summary.iou}
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


def validate(run: Run, listener: Listener) -> tuple[float, Summary]:
    """Loss on fixed slices of the validation cases, and scores of their whole volumes on their own grids."""
    loss = validation_loss(run, run.validation)
    model = Model(run.record, run.network)
    predictor = Predictor(model, device=str(run.device), precision=run.config.precision, batch_size=run.config.batch_size)
    done = iter(range(1, len(run.validation) + 1))
    scores = score_cases(
        predictor, run.validation, lambda score: listener.on_validated(next(done), len(run.validation))
    )
    run.network.train()
    return loss, summarise(scores, run.data.labels)


@torch.no_grad()
def validation_loss(run: Run, cases: Sequence[PreprocessedCase]) -> float:
    """Mean loss on slices drawn uniformly from the validation cases, the same ones each time."""
    run.network.eval()
    uniform = SamplingConfig(slices_per_case=run.config.sampling.slices_per_case, structure_share=0.0)
    draws = draw_epoch([case.record for case in cases], uniform, run.config.seed, 0)
    slices = DrawnSlices(cases, draws, len(run.data.labels), run.size, centred=True)
    local = run.config.model_copy(update={"workers": 0})
    weighted, slices_seen = 0.0, 0
    for batch in make_loader(slices, local, run.device):
        moved = batch.to(run.device)
        known_voxels = Targets(moved.packed, moved.known).known_voxels()
        weighted += len(batch.hu) * batch_loss(run, moved, known_voxels, augment=False).item()
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
