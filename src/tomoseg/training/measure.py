"""Measurement of the cost of a training step on this machine, by a line through a few steps."""

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
        run = build_run(data, config.model_copy(update={"batch_size": batch_size, "accumulation": 1, "workers": 0}))
        on_gpu = run.device.type == "cuda"
        _forget_peak(on_gpu=on_gpu)
        times.append(_seconds_of_step(run, batch_size, min(SECONDS, 60 * minutes / 40)))
        sizes.append(torch.cuda.max_memory_reserved() if on_gpu else peak_memory_bytes())
        work = work_of(math.prod(run.size), config.network.channels, len(data.labels))
        if batch_size == MANY:
            case_seconds = _seconds_of_case(run)
        del run
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


def _forget_peak(*, on_gpu: bool) -> None:
    """Reset the peak memory to the present one, where the system can."""
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _seconds_of_step(run: Run, batch_size: int, seconds: float) -> float:
    """Return the median seconds of reading a batch and a step on it, without the first step."""
    read = DrawnSlices(run.cases, len(run.data.labels), run.size, run.reach, placed=run.config.network.position)
    draws = epoch_draws(run)
    run.shared.train()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken[1:]) < seconds:
        began = time.perf_counter()
        first = len(taken) * batch_size
        batch = read.collate([read[draws[(first + n) % len(draws)]] for n in range(batch_size)])
        take_step(run, [batch])
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
