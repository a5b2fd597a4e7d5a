"""From the fingerprint of a dataset, the minutes and the memory to settings, with a reason for each."""

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
    thin_mm,
    wanted_slices,
    windows_of,
)

DEFAULT_MINUTES = 60.0
"""Where nobody says how long."""

WIDTHS, GPU_WIDTHS = (16, 12, 8), (32, 16)
"""Channels of the first level that are tried, in this order."""

BATCHES, LEAST_STEPS = (16, 8, 4), 4000
"""Slices a step, the largest that leaves so many steps; where none does, the smallest."""

LEAST_BATCH = 2
"""With one slice, the statistics of batch normalisation are those of that slice."""

EPOCHS, MOST_VALIDATIONS = 20, 10
"""An epoch is a twentieth of the training."""

MOST_DRAWS = 200
FEW_CORES = 2


@dataclass(frozen=True)
class Choice:
    """One setting.

    Attributes:
        setting: Its dotted name, as in files and flags.
        value: What it becomes.
        reason: Why, in a line.
    """

    setting: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Means:
    """What there is to train with.

    Attributes:
        minutes: The minutes of training, validations included.
        cost: What steps take.
        memory_bytes: What training may take.
        on_gpu: Whether a GPU trains.
        cores: The cores of the processor.
    """

    minutes: float
    cost: StepCost
    memory_bytes: int
    on_gpu: bool = False
    cores: int = 2


@dataclass(frozen=True)
class Size:
    """How large training is on a grid.

    Attributes:
        edge_mm: The grid's pixel edge; 0 where that is not asked.
        patch: Pixels of a slice along x and y.
        channels: The channels of the network's levels.
        batch_size: Slices a step.
        work: Of a slice.
        slices: That the minutes buy.
        memory_bytes: What it takes.
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
        """Steps of the optimiser that the minutes buy."""
        return self.slices // self.batch_size


def size_of(
    patch: tuple[int, ...], width: int, structures: int, means: Means, fixed: TrainConfig, named: Collection[str]
) -> Size:
    """How large training on slices of a size is.

    Args:
        patch: Pixels along x and y, before they are rounded to the network's stride.
        width: Channels of the first level.
        structures: How many.
        means: What there is.
        fixed: Settings.
        named: Those of them that somebody chose, by dotted name.
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
    batch = fixed.batch_size if "batch_size" in named else min(_batch(means, work), fits)
    if batch < 1:
        return Size(0.0, rounded, channels, 0, work, 0, means.cost.bytes_of(LEAST_BATCH, work))
    slices = means.cost.slices_in(means.minutes, batch, work)
    return Size(0.0, rounded, channels, batch, work, slices, means.cost.bytes_of(batch, work))


def _batch(means: Means, work: float) -> int:
    bought = ((batch, means.cost.slices_in(means.minutes, batch, work)) for batch in BATCHES)
    return next((batch for batch, slices in bought if slices // batch >= LEAST_STEPS), BATCHES[-1])


def choose_size(
    sizes: Sequence[tuple[float, tuple[int, ...]]],
    structures: int,
    means: Means,
    fixed: TrainConfig,
    named: Collection[str] = (),
) -> Size:
    """The finest grid and the widest network that see enough slices and fit into memory.

    Args:
        sizes: Grids with the pixels of their slices, the finest first.
        structures: How many.
        means: What there is.
        fixed: Settings.
        named: Those of them that somebody chose.

    Returns:
        That; or the one that sees most slices of those that fit, where none sees enough.

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
    """Those that fit into memory.

    Raises:
        ConfigError: If none does.
    """
    least = 1 if "batch_size" in named else LEAST_BATCH
    fitting = [size for size in sizes if size.memory_bytes <= means.memory_bytes and size.batch_size >= least]
    if fitting:
        return fitting
    smallest = min(sizes, key=lambda size: size.memory_bytes)
    raise ConfigError(
        f"expected {smallest.memory_bytes / 1e9:.2f} GB of memory at least, which the smallest network for slices of "
        f"{' x '.join(map(str, smallest.patch))} pixels takes, got {means.memory_bytes / 1e9:.2f} GB; give it as "
        "much, or choose coarser pixels or a smaller sampling.patch_size"
    )


def grid_choices(found: Fingerprint, size: Size) -> Iterator[Choice]:
    """The grid, with reasons.

    Args:
        found: The dataset's fingerprint.
        size: What was chosen.
    """
    low, high = (f(ends[i] for ends in found.spacing_range_mm[:2]) for i, f in ((0, min), (1, max)))
    ends = f"{low:.3g} mm" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g} mm"
    yield Choice("grid.mode", "spacing", "pixels of the same length in every scan")
    thin, edge = thin_mm(found.known), size.edge_mm
    if edge == grids_mm(found)[0] and edge <= 1.05 * max(found.spacing_mm[:2]):
        why = f"the scans have {ends}; finer pixels would show nothing more"
    elif thin is None:
        why = f"the scans have {ends}"
    else:
        why = f"the scans have {ends}; thin structures ({thin:.3g} mm) are {thin / edge:.1f} pixels across"
    yield Choice("grid.spacing_mm", edge, why)
    apart = found.spacing_mm[2]
    if apart < edge / 3:
        yield Choice("grid.slice_spacing_mm", edge, f"slices {apart:.3g} mm apart are much finer than the pixels")
    else:
        yield Choice("grid.slice_spacing_mm", None, f"the scans' own slices, {apart:.3g} mm apart")
    box = " x ".join(f"{length:.0f}" for length in found.extent_mm)
    yield Choice("grid.crop", "body", f"air and table hold nothing; the body is {box} mm")


def training_choices(
    found: Fingerprint, size: Size, means: Means, config: TrainConfig, apart_mm: float
) -> Iterator[Choice]:
    """The settings of training, with reasons.

    Args:
        found: The dataset's fingerprint.
        size: What was chosen.
        means: What there is.
        config: Settings that are given; its length of training is kept.
        apart_mm: Distance of the slices that the network sees, which are the view's on the grid.
    """
    structures = len(found.structures)
    windows, why = windows_of(found.known)
    yield Choice("windows_hu", windows, why)
    slices, why = neighbours_of(apart_mm)
    yield Choice("network.slices", slices, why)
    shown = " x ".join(map(str, size.patch))
    why = f"{len(size.channels)} levels for slices of {shown} pixels; {size.channels[0]} wide {_width_why(size, means)}"
    yield Choice("network.channels", size.channels, why)
    power, why = emphasis_power_of(structures)
    yield Choice("loss.emphasis_power", power, why)
    why = f"{size.steps} steps; {size.memory_bytes / 1e9:.1f} GB of {means.memory_bytes / 1e9:.1f}"
    yield Choice("batch_size", size.batch_size, why)
    if not means.on_gpu and means.cores <= FEW_CORES:
        yield Choice("workers", 0, f"{counted(means.cores, 'core')}: reading processes would take it from training")
    if config.steps is not None or config.epochs is not None:
        return
    if config.minutes is None:
        given = means.minutes != DEFAULT_MINUTES
        yield Choice("minutes", means.minutes, "as asked for" if given else "an hour; --minutes gives another length")
    yield from _epochs(found, size, means)


def _width_why(size: Size, means: Means) -> str:
    usual = (GPU_WIDTHS if means.on_gpu else WIDTHS)[0]
    if size.channels[0] < usual:
        return "so that time and memory suffice"
    return f"is usual on a {'GPU' if means.on_gpu else 'processor'}"


def _epochs(found: Fingerprint, size: Size, means: Means) -> Iterator[Choice]:
    """How long an epoch is, and how often it is validated."""
    each = size.slices / EPOCHS / max(1, found.cases)
    draws = min(max(round(each), 1), MOST_DRAWS)
    epochs = max(1, round(size.slices / (draws * max(1, found.cases))))
    yield Choice("sampling.slices_per_case", draws, f"{counted(epochs, 'epoch')} of {draws * found.cases} slices")
    if not found.validation:
        return
    seconds = means.cost.case_seconds
    spare = 60 * means.minutes * (1 - TRAINING_SHARE)
    times = MOST_VALIDATIONS // 2 if seconds is None else int(1e-6 + spare / max(seconds * found.validation, 1e-9))
    every = max(1, -(-epochs // min(max(times, 1), MOST_VALIDATIONS)))
    what = counted(found.validation, "validation case")
    took = "" if seconds is None else f" take about {seconds * found.validation:.0f} s"
    yield Choice("validate_every", every, f"{what}{took}; validated {counted(max(1, epochs // every), 'time')}")


@dataclass(frozen=True)
class DatasetPlan:
    """Settings for a dataset.

    Attributes:
        found: Its fingerprint.
        choices: What was chosen and why, the grid first; nothing of the grid where that is given.
        size: How large training is.
        means: What there is.
        outlook: What may be expected of it.
        is_timed: Whether minutes decide how long it takes; otherwise steps or epochs are given.
        failed: Why a case that was to be looked at could not be read, by its name.
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
        """Whether so little is learned from that large structures alone may be found, if any."""
        return self.size.slices < ENOUGH_SHARE * wanted_slices(len(self.found.structures))

    def values(self, *, of_grid: bool) -> dict[str, Any]:
        """The settings of the grid, or those of training, by dotted name."""
        return {one.setting: one.value for one in self.choices if one.setting.startswith("grid.") == of_grid}
