"""Cost of training in time and memory: a linear model of measured or usual values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

TRAINING_SHARE = 0.9
"""Fraction of the minutes for training; the rest is for validation."""

USUAL_STEP_SECONDS, USUAL_CORE_SECONDS, USUAL_GPU_SECONDS = 0.02, 1e-7, 5e-9
"""Fixed seconds of a step, and seconds per unit of `work_of` on one core and on a GPU."""

USUAL_FIXED_BYTES, USUAL_WORK_BYTES = 600_000_000, 36
"""Fixed bytes of training, and bytes per unit of `work_of`."""

HEAD_SHARE = 0.25
"""Cost of a structure, in channels of the first level."""


@dataclass(frozen=True)
class StepCost:
    """Cost of a training step.

    Attributes:
        step_seconds: Fixed seconds per step.
        work_seconds: Seconds per unit of work.
        fixed_bytes: Fixed bytes.
        work_bytes: Bytes per unit of work in a batch.
        case_seconds: Seconds to validate one case; None if not measured.
        is_measured: Whether it was measured on this machine.
    """

    step_seconds: float
    work_seconds: float
    fixed_bytes: int
    work_bytes: float
    case_seconds: float | None = None
    is_measured: bool = False

    def times(self, factor: float) -> StepCost:
        """Return the cost with work scaled by a factor, for slices of as many times the pixels; cases are unchanged."""
        return replace(self, work_seconds=self.work_seconds * factor, work_bytes=self.work_bytes * factor)

    def slices_in(self, minutes: float, batch_size: int, work: float) -> int:
        """Return the number of slices trained on in some minutes, validation included."""
        seconds = 60 * minutes * TRAINING_SHARE
        return batch_size * int(seconds / (self.step_seconds + batch_size * work * self.work_seconds))

    def minutes_for(self, slices: int, batch_size: int, work: float) -> float:
        """Return the minutes to train on some slices, the inverse of `slices_in`."""
        steps = -(-slices // batch_size)
        return steps * (self.step_seconds + batch_size * work * self.work_seconds) / 60 / TRAINING_SHARE

    def bytes_of(self, batch_size: int, work: float) -> int:
        """Return the bytes of training with a batch size."""
        return self.fixed_bytes + round(batch_size * work * self.work_bytes)

    def batch_within(self, memory_bytes: int, work: float) -> int:
        """Return the largest batch that fits into memory; 0 if none does."""
        return max(0, int((memory_bytes - self.fixed_bytes) / (work * self.work_bytes)))


def usual_cost(*, on_gpu: bool, cores: int) -> StepCost:
    """Return the usual cost, where nothing was measured.

    Args:
        on_gpu: Whether training runs on a GPU.
        cores: Cores of the processor.
    """
    seconds = USUAL_GPU_SECONDS if on_gpu else USUAL_CORE_SECONDS / max(1, cores)
    return StepCost(USUAL_STEP_SECONDS, seconds, USUAL_FIXED_BYTES, USUAL_WORK_BYTES)


def work_of(pixels: int, channels: Sequence[int], structures: int) -> float:
    """Return the work of a slice: the values of its feature maps, each level with a quarter of the pixels, and masks.

    For the small slices and narrow networks of a CPU, time and memory follow these rather than multiplications.

    Args:
        pixels: Pixels of the slice.
        channels: Channels of the network's levels.
        structures: Number of structures.

    Example:
        >>> work_of(100, (8, 16), 4)  # 8 + 16 / 4 + 4 / 4 for each pixel
        1300.0
    """
    return pixels * (sum(width / 4**level for level, width in enumerate(channels)) + HEAD_SHARE * structures)
