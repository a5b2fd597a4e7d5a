"""Measurement of training steps on this machine, and their cost by a line through a few."""

from __future__ import annotations

import gc
import math
import statistics
import time
from contextlib import suppress
from pathlib import Path

import torch

from tomoseg.config import TrainConfig
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_case
from tomoseg.models.folder import Model
from tomoseg.options import Compute
from tomoseg.planning.cost import USUAL_WORK_BYTES, StepCost, work_of
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.build import build_run
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.run import Run
from tomoseg.training.slices import DrawnSlices

FEW, MANY = 2, 8
"""Batch sizes that are measured."""

SECONDS = 2.0
"""Seconds of steps per batch size, or a fortieth of the training if that is less; at least two steps are taken."""


class Probe:
    """Training steps with batches of a size, from the first slices of an epoch on, to be measured.

    Args:
        data: A dataset with training cases.
        config: The settings of network and device.
        batch_size: Slices per step.

    Raises:
        DatasetError: If there are no training cases.
    """

    def __init__(self, data: Preprocessed, config: TrainConfig, batch_size: int) -> None:
        self.run = run = build_run(
            data, config.model_copy(update={"batch_size": batch_size, "accumulation": 1, "workers": 0})
        )
        self._read = DrawnSlices(run.cases, len(data.labels), run.size, run.reach, placed=config.network.position)
        self._draws, self._drawn = epoch_draws(run), 0
        _forget_peak(run.device)
        run.shared.train()

    def step(self) -> None:
        """Read the next batch and train on it; at the end of the epoch it begins again."""
        drawn = range(self._drawn, self._drawn + self.run.config.batch_size)
        self._drawn = drawn.stop
        batch = self._read.collate([self._read[self._draws[n % len(self._draws)]] for n in drawn])
        take_step(self.run, [batch])

    def peak_bytes(self) -> int:
        """Return the peak memory since the first step: that of the process on a CPU, that reserved on a GPU."""
        device = self.run.device
        return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_memory_bytes()


def _forget_peak(device: torch.device) -> None:
    """Reset the peak memory to the present one, where the system can."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measure_cost(data: Preprocessed, config: TrainConfig, minutes: float) -> StepCost:
    """Measure steps of two batch sizes, and score a validation case if there is one.

    Args:
        data: A dataset with training cases.
        config: The settings of network and device.
        minutes: Minutes of the planned training: a short one is measured for less time.

    Raises:
        DatasetError: If there are no training cases.
    """
    times, sizes = [], []
    for batch_size in (FEW, MANY):
        probe = Probe(data, config, batch_size)
        times.append(_seconds_of_step(probe, min(SECONDS, 60 * minutes / 40)))
        sizes.append(probe.peak_bytes())
        work = work_of(math.prod(probe.run.size), config.network.channels, len(data.labels))
        if batch_size == MANY:
            case_seconds = _seconds_of_case(probe.run)
        del probe
        gc.collect()
    slice_seconds = max((times[1] - times[0]) / (MANY - FEW), 0.2 * times[1] / MANY)
    # no difference is seen if an earlier peak was higher than both
    slice_bytes = max((sizes[1] - sizes[0]) / (MANY - FEW), 0.5 * USUAL_WORK_BYTES * work)
    return StepCost(
        step_seconds=max(times[1] - MANY * slice_seconds, 0.0),
        work_seconds=slice_seconds / work,
        fixed_bytes=max(0, round(sizes[1] - MANY * slice_bytes)),
        work_bytes=slice_bytes / work,
        case_seconds=case_seconds,
        is_measured=True,
    )


def _seconds_of_step(probe: Probe, seconds: float) -> float:
    """Return the median seconds of reading a batch and a step on it, without the first step."""
    taken: list[float] = []
    while len(taken) < 3 or sum(taken[1:]) < seconds:
        began = time.perf_counter()
        probe.step()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _seconds_of_case(run: Run) -> float | None:
    """Return the seconds of predicting and scoring a validation case of median size; None without one."""
    if not run.validation:
        return None
    case = sorted(run.validation, key=lambda case: math.prod(case.shape))[len(run.validation) // 2]
    compute = Compute(engine="torch", device=str(run.device), precision=run.config.precision)
    predictor = Predictor(Model(run.record, run.state.ema_or_live.eval()), compute)
    began = time.perf_counter()
    score_case(predictor, case)
    return time.perf_counter() - began
