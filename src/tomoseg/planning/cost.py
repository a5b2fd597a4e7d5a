"""What training takes in time and memory: a line through what was measured, or what is usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

TRAINING_SHARE = 0.9
"""Of the minutes; the rest is for validations."""

USUAL_STEP_SECONDS, USUAL_CORE_SECONDS, USUAL_GPU_SECONDS = 0.02, 1e-7, 5e-9
"""Of a step whatever its batch, and of a unit of `work_of` on one core and on a GPU."""

USUAL_FIXED_BYTES, USUAL_WORK_BYTES = 600_000_000, 36
"""Of training whatever its batch, and of a unit of work."""

HEAD_SHARE = 0.25
"""What a structure costs, in channels of the first level."""


@dataclass(frozen=True)
class StepCost:
    """What a step of training takes.

    Attributes:
        step_seconds: Whatever the batch.
        work_seconds: For each unit of work.
        fixed_bytes: Whatever the batch.
        work_bytes: For each unit of work in a batch.
        case_seconds: A validation of one case at the work of a slice that was measured; None where none was.
        is_measured: Whether it was measured on this machine.
    """

    step_seconds: float
    work_seconds: float
    fixed_bytes: int
    work_bytes: float
    case_seconds: float | None = None
    is_measured: bool = False

    def times(self, factor: float) -> StepCost:
        """The same for slices of so many times the pixels of those that are reckoned with; whole cases take as long."""
        return replace(self, work_seconds=self.work_seconds * factor, work_bytes=self.work_bytes * factor)

    def slices_in(self, minutes: float, batch_size: int, work: float) -> int:
        """Slices that are learned from in so many minutes, validations included in these."""
        seconds = 60 * minutes * TRAINING_SHARE
        return batch_size * int(seconds / (self.step_seconds + batch_size * work * self.work_seconds))

    def minutes_for(self, slices: int, batch_size: int, work: float) -> float:
        """The inverse of `slices_in`."""
        steps = -(-slices // batch_size)
        return steps * (self.step_seconds + batch_size * work * self.work_seconds) / 60 / TRAINING_SHARE

    def bytes_of(self, batch_size: int, work: float) -> int:
        """What training takes with such batches."""
        return self.fixed_bytes + round(batch_size * work * self.work_bytes)

    def batch_within(self, memory_bytes: int, work: float) -> int:
        """The largest batch that fits into so much memory; 0 where none does."""
        return max(0, int((memory_bytes - self.fixed_bytes) / (work * self.work_bytes)))


def usual_cost(*, on_gpu: bool, cores: int) -> StepCost:
    """What is usual where nothing was measured.

    Args:
        on_gpu: Whether a GPU trains.
        cores: The cores of the processor.
    """
    seconds = USUAL_GPU_SECONDS if on_gpu else USUAL_CORE_SECONDS / max(1, cores)
    return StepCost(USUAL_STEP_SECONDS, seconds, USUAL_FIXED_BYTES, USUAL_WORK_BYTES)


def work_of(pixels: int, channels: Sequence[int], structures: int) -> float:
    """What a slice costs: the values of its feature maps, each level with a quarter of the pixels, and of its masks.

    On the small slices and narrow networks of a CPU time and memory follow these rather than multiplications.

    Args:
        pixels: The pixels of the slice.
        channels: The channels of the network's levels.
        structures: How many masks it gives.

    Example:
        >>> work_of(100, (8, 16), 4)  # 8 + 16 / 4 + 4 / 4 for each pixel
        1300.0
    """
    return pixels * (sum(width / 4**level for level, width in enumerate(channels)) + HEAD_SHARE * structures)
