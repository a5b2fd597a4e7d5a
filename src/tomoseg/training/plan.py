"""Memory of a training step, and the batch size that fits.

A line is put through measurements of a few steps with small batches. This includes the libraries' own memory, unlike
a sum over layers.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import psutil
import torch

from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.build import training_device
from tomoseg.training.measure import Probe

PROBES = ((4, 8), (1, 2))
"""Batch sizes that are measured; the second pair if a GPU is too small for the first."""


@dataclass(frozen=True)
class Plan:
    """Memory of training, and the batch size that fits.

    Attributes:
        fixed_bytes: Bytes that do not depend on the batch.
        slice_bytes: Bytes per slice in a batch.
        limit_bytes: Available bytes.
        batch_size: The largest batch that fits, up to the configured one.
        accumulation: Batches per step, for at least the configured number of slices.
    """

    fixed_bytes: int
    slice_bytes: int
    limit_bytes: int
    batch_size: int
    accumulation: int

    def bytes_of(self, batch_size: int) -> int:
        """Return the bytes of training with a batch size."""
        return self.fixed_bytes + self.slice_bytes * batch_size


def plan_batches(data: Preprocessed, config: TrainConfig, limit_bytes: int | None = None) -> Plan:
    """Measure the memory of training, and choose batch size and accumulation.

    On a CPU it is the memory of the process, on a GPU that reserved by PyTorch. Reading processes (`workers`) are not
    counted.

    Args:
        data: The preprocessed dataset.
        config: The settings; a step has `batch_size` times `accumulation` slices.
        limit_bytes: Available bytes; if omitted, the free memory.

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
    """Return the bytes per slice in a batch, and the fixed bytes.

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
    """Return the peak memory of steps with a batch size."""
    probe = Probe(data, config, slices)
    for _ in range(2):  # the first allocates the optimiser's memory
        probe.step()
    peak = probe.peak_bytes()
    del probe
    gc.collect()
    return peak


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)
