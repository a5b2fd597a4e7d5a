"""Choice of settings from the fingerprint of a dataset, the minutes and the memory, with a reason for each."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tomoseg.config import TrainConfig
from tomoseg.errors import ConfigError, counted
from tomoseg.planning.cost import TRAINING_SHARE, StepCost, work_of
from tomoseg.planning.fingerprint import Fingerprint
from tomoseg.planning.needs import (
    ENOUGH_SHARE,
    HARDLY_SHARE,
    channels_of,
    emphasis_power_of,
    grids_mm,
    levels_of,
    neighbours_of,
    slice_spacing_of,
    thin_mm,
    wanted_slices,
    windows_of,
)

DEFAULT_MINUTES = 60.0
"""Minutes of training if none are given."""

WIDTHS, GPU_WIDTHS = (16, 12, 8), (32, 16)
"""Channels of the first level to try, in order."""

BATCHES = (16, 8, 4)
"""Batch sizes to try: the largest that leaves at least `least_steps`, or else the smallest."""

LEAST_BATCH = 2
"""Smallest batch: with one slice, batch normalisation would use that slice's statistics."""

EPOCHS, MOST_VALIDATIONS = 20, 10
"""Number of epochs of a training, and largest number of validations."""

MOST_DRAWS = 200
FEW_CORES = 2


@dataclass(frozen=True)
class Choice:
    """One setting.

    Attributes:
        setting: Dotted name, as in files and flags.
        value: The value chosen.
        reason: The reason, in a line.
    """

    setting: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Means:
    """Resources for training.

    Attributes:
        minutes: Minutes of training, validation included.
        cost: Cost of steps.
        memory_bytes: Memory that training may take.
        on_gpu: Whether training runs on a GPU.
        cores: Cores of the processor.
    """

    minutes: float
    cost: StepCost
    memory_bytes: int
    on_gpu: bool = False
    cores: int = 2


@dataclass(frozen=True)
class Size:
    """Size of training on a grid.

    Attributes:
        edge_mm: In-plane spacing of the grid; 0 if not chosen here.
        patch: Pixels of a slice along x and y.
        channels: Channels of the network's levels.
        batch_size: Slices per step.
        work: Work of a slice (`cost.work_of`).
        slices: Number of slices that the minutes allow.
        memory_bytes: Memory that it takes.
    """

    edge_mm: float
    patch: tuple[int, ...]
    channels: tuple[int, ...]
    batch_size: int
    work: float
    slices: int
    memory_bytes: int

    @property
    def steps(self) -> int:
        """Number of optimiser steps that the minutes allow."""
        return self.slices // self.batch_size


def size_of(
    patch: tuple[int, ...], width: int, structures: int, means: Means, fixed: TrainConfig, named: Collection[str]
) -> Size:
    """Return the size of training on slices of a size.

    Args:
        patch: Pixels along x and y, before rounding to the network's stride.
        width: Channels of the first level.
        structures: Number of structures.
        means: The resources.
        fixed: Given settings.
        named: Dotted names of the settings that the user chose.
    """
    channels = channels_of(width, levels_of(patch))
    if "network.channels" in named:
        channels = fixed.network.channels
    stride = 2 ** (len(channels) - 1)
    rounded = tuple(max(1, round(edge / stride)) * stride for edge in patch)
    if "sampling.patch_size" in named and fixed.sampling.patch_size is not None:
        rounded = fixed.sampling.patch_size
    work = work_of(math.prod(rounded), channels, structures)
    fits = means.cost.batch_within(means.memory_bytes, work)
    batch = fixed.batch_size if "batch_size" in named else min(_batch(means, work, structures), fits)
    if batch < 1:
        return Size(0.0, rounded, channels, 0, work, 0, means.cost.bytes_of(LEAST_BATCH, work))
    slices = means.cost.slices_in(means.minutes, batch, work)
    return Size(0.0, rounded, channels, batch, work, slices, means.cost.bytes_of(batch, work))


def _batch(means: Means, work: float, structures: int) -> int:
    bought = ((batch, means.cost.slices_in(means.minutes, batch, work)) for batch in BATCHES)
    return next((batch for batch, slices in bought if slices // batch >= least_steps(structures)), BATCHES[-1])


def least_steps(structures: int) -> int:
    """Return how many steps a larger batch must leave: rare structures want large batches, many structures many steps.

    Args:
        structures: Number of structures.

    Example:
        >>> least_steps(7), least_steps(117)
        (710, 4010)
    """
    return 500 + 30 * structures


def choose_size(
    sizes: Sequence[tuple[float, tuple[int, ...]]],
    structures: int,
    means: Means,
    fixed: TrainConfig,
    named: Collection[str] = (),
) -> Size:
    """Choose the finest grid and the widest network that see enough slices and fit into memory.

    Args:
        sizes: Spacing of each grid with the pixels of its slices, the finest first.
        structures: Number of structures.
        means: The resources.
        fixed: Given settings.
        named: Dotted names of the settings that the user chose.

    Returns:
        The choice; if none sees enough slices, the one of those that fit that sees most.

    Raises:
        ConfigError: If none fits into memory.
    """
    widths = GPU_WIDTHS if means.on_gpu else WIDTHS
    # the grid is made coarser before the network is made narrower
    tried = [(edge, patch, widths[0]) for edge, patch in sizes]
    tried += [(*sizes[-1], width) for width in widths[1:]]
    found = [
        replace(size_of(patch, width, structures, means, fixed, named), edge_mm=edge) for edge, patch, width in tried
    ]
    fitting = _fitting(found, means, named)
    wanted, coarsest = wanted_slices(structures), max(size.edge_mm for size in fitting)
    for size in fitting:
        if size.slices >= wanted * (HARDLY_SHARE if size.edge_mm == coarsest else ENOUGH_SHARE):
            return size
    return max(fitting, key=lambda size: size.slices)


def _fitting(sizes: Sequence[Size], means: Means, named: Collection[str]) -> list[Size]:
    """Return the sizes that fit into memory.

    Raises:
        ConfigError: If none does.
    """
    least = 1 if "batch_size" in named else LEAST_BATCH
    fitting = [size for size in sizes if size.memory_bytes <= means.memory_bytes and size.batch_size >= least]
    if fitting:
        return fitting
    smallest = min(sizes, key=lambda size: size.memory_bytes)
    raise ConfigError(
        f"expected {smallest.memory_bytes / 1e9:.2f} GB of memory or more, which the smallest network for "
        f"slices of {' x '.join(map(str, smallest.patch))} pixels needs, got {means.memory_bytes / 1e9:.2f} "
        "GB; allow as much, or choose coarser pixels or a smaller sampling.patch_size"
    )


def grid_choices(found: Fingerprint, size: Size) -> Iterator[Choice]:
    """Yield the grid's settings, with reasons.

    Args:
        found: The dataset's fingerprint.
        size: The size chosen.
    """
    low, high = (f(ends[i] for ends in found.spacing_range_mm[:2]) for i, f in ((0, min), (1, max)))
    ends = f"{low:.3g} mm" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g} mm"
    yield Choice("grid.mode", "spacing", "pixels of the same length in every scan")
    thin, edge = thin_mm(found.known), size.edge_mm
    if edge == grids_mm(found)[0] and edge <= 1.05 * max(found.spacing_mm[:2]):
        why = f"the scans have {ends}; finer pixels would add no detail"
    elif thin is None:
        why = f"the scans have {ends}"
    else:
        why = f"the scans have {ends}; thin structures ({thin:.3g} mm) are {thin / edge:.1f} pixels across"
    yield Choice("grid.spacing_mm", edge, why)
    apart, why = slice_spacing_of(found, edge)
    yield Choice("grid.slice_spacing_mm", apart, why)
    box = " x ".join(f"{length:.0f}" for length in found.extent_mm)
    yield Choice("grid.crop", "body", f"air and table show nothing to learn; the body measures {box} mm")


def training_choices(
    found: Fingerprint, size: Size, means: Means, config: TrainConfig, apart_mm: float
) -> Iterator[Choice]:
    """Yield the settings of training, with reasons.

    Args:
        found: The dataset's fingerprint.
        size: The size chosen.
        means: The resources.
        config: Given settings; its length of training is kept.
        apart_mm: Distance of the slices that the network sees, on the grid in its view.
    """
    structures = len(found.structures)
    windows, why = windows_of(found.known)
    yield Choice("windows_hu", windows, why)
    slices, why = neighbours_of(apart_mm)
    yield Choice("network.slices", slices, why)
    shown = " x ".join(map(str, size.patch))
    levels, width = len(size.channels), size.channels[0]
    why = f"{levels} levels for slices of {shown} pixels; a width of {width} {_width_why(size, means)}"
    yield Choice("network.channels", size.channels, why)
    power, why = emphasis_power_of(structures)
    yield Choice("loss.emphasis_power", power, why)
    why = f"{size.steps} steps; {size.memory_bytes / 1e9:.1f} GB of {means.memory_bytes / 1e9:.1f}"
    yield Choice("batch_size", size.batch_size, why)
    if not means.on_gpu and means.cores <= FEW_CORES:
        yield Choice(
            "workers", 0, f"{counted(means.cores, 'core')}: processes that read cases would slow down training"
        )
    if config.steps is not None or config.epochs is not None:
        return
    if config.minutes is None:
        given = means.minutes != DEFAULT_MINUTES
        yield Choice("minutes", means.minutes, "as asked for" if given else "one hour; --minutes changes it")
    yield from _epochs(found, size, means)


def _width_why(size: Size, means: Means) -> str:
    usual = (GPU_WIDTHS if means.on_gpu else WIDTHS)[0]
    if size.channels[0] < usual:
        return "to fit the time and memory"
    return f"is usual on a {'GPU' if means.on_gpu else 'CPU'}"


def _epochs(found: Fingerprint, size: Size, means: Means) -> Iterator[Choice]:
    """Yield the length of an epoch, and the interval of validations."""
    each = size.slices / EPOCHS / max(1, found.cases)
    draws = min(max(round(each), 1), MOST_DRAWS)
    epochs = max(1, round(size.slices / (draws * max(1, found.cases))))
    yield Choice(
        "sampling.slices_per_case", draws, f"{counted(epochs, 'epoch')} of {counted(draws * found.cases, 'slice')}"
    )
    if not found.validation:
        return
    seconds = means.cost.case_seconds
    spare = 60 * means.minutes * (1 - TRAINING_SHARE)
    times = MOST_VALIDATIONS // 2 if seconds is None else int(1e-6 + spare / max(seconds * found.validation, 1e-9))
    every = max(1, -(-epochs // min(max(times, 1), MOST_VALIDATIONS)))
    took = (
        counted(found.validation, "validation case")
        if seconds is None
        else f"{counted(found.validation, 'validation case takes', 'validation cases take')} about "
        f"{seconds * found.validation:.0f} s"
    )
    yield Choice("validate_every", every, f"{took}; validated {counted(max(1, epochs // every), 'time')}")


@dataclass(frozen=True)
class DatasetPlan:
    """Settings for a dataset.

    Attributes:
        found: Its fingerprint.
        choices: Settings with reasons, the grid's first; none of the grid if it is given.
        size: Size of training.
        means: The resources.
        outlook: The expected result.
        is_timed: Whether minutes decide its length; otherwise steps or epochs are given.
        failed: Why a case could not be read, by name.
    """

    found: Fingerprint
    choices: tuple[Choice, ...]
    size: Size
    means: Means
    outlook: str
    is_timed: bool = True
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def never_enough(self) -> bool:
        """Whether training sees too few slices for more than large structures."""
        return self.size.slices < ENOUGH_SHARE * wanted_slices(len(self.found.structures))

    def values(self, *, of_grid: bool) -> dict[str, Any]:
        """Return the settings of the grid, or those of training, by dotted name."""
        return {one.setting: one.value for one in self.choices if one.setting.startswith("grid.") == of_grid}
