"""What a step of training takes in memory, and which batches fit.

A few steps of small batches are measured and a line is put through them: what libraries keep for themselves is then
counted too, which no sum over layers knows.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import psutil
import torch

from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.build import build_run, training_device
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.slices import DrawnSlices

PROBES = ((4, 8), (1, 2))
"""Slices in the batches that are measured; the second pair where a GPU is too small for the first."""


@dataclass(frozen=True)
class Plan:
    """Which batches fit.

    Attributes:
        fixed_bytes: What training takes whatever the batch.
        slice_bytes: What each slice in a batch takes beyond that.
        limit_bytes: What there is.
        batch_size: The largest batch that fits and is not larger than was asked for.
        accumulation: So many of them make steps of at least as many slices as were asked for.
    """

    fixed_bytes: int
    slice_bytes: int
    limit_bytes: int
    batch_size: int
    accumulation: int

    def bytes_of(self, batch_size: int) -> int:
        """What training takes with batches of that size."""
        return self.fixed_bytes + self.slice_bytes * batch_size


def plan_training(data: Preprocessed, config: TrainConfig, limit_bytes: int | None = None) -> Plan:
    """Measure what training takes, and choose batch size and accumulation.

    On a CPU that is the memory of the process, on a GPU what PyTorch holds there. Reading processes
    (`workers`) are not counted.

    Args:
        data: What to learn.
        config: How; `batch_size` times `accumulation` slices a step are asked for.
        limit_bytes: What there is; None takes what is free now.

    Raises:
        DatasetError: If there are no training cases.
        TrainingError: If no batch of one slice fits, or a GPU's memory runs out with two.
    """
    asked = config.batch_size * config.accumulation
    slice_bytes, fixed_bytes = _line(data, config)
    limit_bytes = _free(training_device(config)) if limit_bytes is None else limit_bytes
    fitting = (limit_bytes - fixed_bytes) // slice_bytes
    if fitting < 1:
        raise TrainingError(
            f"expected {(fixed_bytes + slice_bytes) / 1e9:.2f} GB for training with one slice at a time, "
            f"got {limit_bytes / 1e9:.2f} GB; use fewer network.channels or a smaller sampling.patch_size "
            "(of blocks: network.tile)"
        )
    batch_size = min(config.batch_size, fitting)
    return Plan(fixed_bytes, slice_bytes, limit_bytes, batch_size, -(-asked // batch_size))


def _line(data: Preprocessed, config: TrainConfig) -> tuple[int, int]:
    """Bytes of a slice in a batch, and of what is there whatever the batch.

    Raises:
        TrainingError: If a GPU's memory runs out.
    """
    for few, many in PROBES:
        try:
            less, more = (_measured(data, config, slices) for slices in (few, many))
        except torch.OutOfMemoryError:
            gc.collect()
            continue
        slice_bytes = max(1, round((more - less) / (many - few)))
        return slice_bytes, more - many * slice_bytes
    raise TrainingError(
        f"expected a GPU that trains with {PROBES[-1][1]} slices or blocks at a time, got one whose memory ran out; "
        "use fewer network.channels or a smaller sampling.patch_size (of blocks: network.tile)"
    )


def _measured(data: Preprocessed, config: TrainConfig, slices: int) -> int:
    """The most memory that steps with so many slices take; batches have to grow from call to call."""
    run = build_run(data, config.model_copy(update={"batch_size": slices, "accumulation": 1, "workers": 0}))
    draws = (epoch_draws(run) * slices)[:slices]
    read = DrawnSlices(run.cases, len(data.labels), run.size, run.reach, placed=config.network.position)
    batch = read.collate([read[draw] for draw in draws])
    on_gpu = run.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(run.device)
    run.shared.train()
    for _ in range(2):  # the optimiser's own memory comes with the first
        take_step(run, [batch])
    del run
    gc.collect()
    return torch.cuda.max_memory_reserved() if on_gpu else peak_memory_bytes()


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)
