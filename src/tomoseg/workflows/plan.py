"""`tomoseg plan`: settings for a dataset, from its properties, the minutes and the memory; some steps are measured."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import yaml

from tomoseg.checks.in_distribution import evenly_spread
from tomoseg.config import TRAIN_PRESETS, GridConfig, PreprocessConfig, TrainConfig
from tomoseg.datasets.cases import Case, mask_loader, read_case
from tomoseg.datasets.splits import assign_splits
from tomoseg.errors import ConfigError, DatasetError, TomosegError, counted
from tomoseg.files.atomic import write_whole_text
from tomoseg.files.outputs import check_file
from tomoseg.grid import body_box
from tomoseg.inference.device import device_name
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask, mask_in
from tomoseg.planning.cost import StepCost, usual_cost
from tomoseg.planning.fingerprint import MOST_LOOKED_AT, CasePrint, Fingerprint, case_print
from tomoseg.planning.needs import channels_of, grids_mm, levels_of, pixels_of, slice_spacing_of, wanted_slices
from tomoseg.planning.outlook import outlook
from tomoseg.planning.rules import (
    DEFAULT_MINUTES,
    WIDTHS,
    Choice,
    DatasetPlan,
    Means,
    Size,
    choose_size,
    grid_choices,
    training_choices,
)
from tomoseg.preprocessed.format import INDEX
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.settings import named, put_over
from tomoseg.views import axes_back, ordered, unordered
from tomoseg.workflows.datasets import open_dataset
from tomoseg.workflows.preprocess import believed, preprocess_some

OnCase = Callable[[int, int], None]
SomeCase = TypeVar("SomeCase")
GRID_SIZES = frozenset({"grid.mode", "grid.size", "grid.spacing_mm", "grid.slice_spacing_mm"})
"""Settings of which any given one keeps the grid from being planned."""


@dataclass(frozen=True)
class PlanRequest:
    """The limits of a plan.

    Attributes:
        minutes: Training time in minutes; None for `DEFAULT_MINUTES`.
        memory_bytes: Memory limit of training in bytes; None for the free memory.
        measures: Whether to time training steps on this machine; otherwise typical values are used.
    """

    minutes: float | None = None
    memory_bytes: int | None = None
    measures: bool = True


def check_asked(asked: PlanRequest, output: Path | None = None) -> None:
    """Refuse limits that cannot be planned for, before any work.

    Raises:
        ConfigError: If the minutes are not positive.
        OutputError: If the file cannot be written.
    """
    if asked.minutes is not None and not 0 < asked.minutes < math.inf:
        raise ConfigError(f"expected minutes above 0, got {asked.minutes:g}; say how long training may take")
    if output is not None:
        check_file(output)


def plan(dataset: Path, asked: PlanRequest, on_case: OnCase = lambda done, total: None) -> DatasetPlan:
    """Plan settings for a raw or preprocessed dataset, with a reason for each. Nothing is written.

    Args:
        dataset: A folder of labelled scans, or a preprocessed dataset, whose grid stays.
        asked: Time and memory limits.
        on_case: Called with the number of cases examined and the total number of cases.

    Raises:
        DatasetError: If it is not a dataset, has no training case, or none of these contains a structure.
        ConfigError: If memory or minutes cannot hold any plan.
    """
    if (dataset / INDEX).is_file():
        found = plan_training(Preprocessed(dataset), TrainConfig(), asked, on_case)
    else:
        found = plan_preprocessing(dataset, PreprocessConfig(), asked, on_case)
    if len(found.found.never_seen) == len(found.found.structures):
        raise DatasetError(
            f"{dataset}: expected a training case that contains a structure, got {counted(found.found.cases, 'case')} "
            "without any; check that their masks are not empty"
        )
    _check_minutes(found)
    return found


def _check_minutes(found: DatasetPlan) -> None:
    """Refuse minutes that are far too few.

    Raises:
        ConfigError: If they suffice for less than a twentieth of the wanted slices.
    """
    wanted, size = wanted_slices(len(found.found.structures)), found.size
    if size.slices < 0.05 * wanted:
        needed = found.means.cost.minutes_for(wanted, size.batch_size, size.work)
        raise ConfigError(
            f"expected enough minutes to train on a few thousand slices, got {found.means.minutes:g}, in which "
            f"this machine trains on {size.slices}, with pixels of {size.edge_mm:.3g} mm; allow {needed:.1f} "
            f"minutes, or {needed * 0.15:.1f} at the least"
        )


def plan_preprocessing(
    dataset: Path, config: PreprocessConfig, asked: PlanRequest, on_case: OnCase = lambda done, total: None
) -> DatasetPlan:
    """Plan settings for a raw dataset: the grid and the training on it.

    Args:
        dataset: A folder of labelled scans.
        config: Given settings such as structures, splits and view; only grid settings not chosen are planned.
        asked: Time and memory limits.
        on_case: Called with the number of cases examined and the total number of cases.

    Raises:
        DatasetError: If it is not a dataset, or none of its cases can be read.
        ConfigError: If memory cannot hold any plan.
    """
    opened = _opened(dataset, config)
    found, failed = opened.fingerprint(on_case)
    chosen = named(config)
    own = config.grid if chosen & GRID_SIZES else None
    edges = [config.grid.spacing_mm] if own is not None else grids_mm(found)
    means = _means(asked, lambda minutes: _cost_of_raw(opened, edges[0], config, minutes))
    sizes = [(edge, _slice_of(found, edge, config.grid.view)) for edge in edges]
    fixed = TrainConfig()
    size = choose_size(sizes, len(opened.labels), means, fixed)
    grid = [] if own is not None else _unless(grid_choices(found, size), chosen)
    apart_mm = _apart_mm(put_over(config, {one.setting: one.value for one in grid}).grid, found.spacing_mm)
    made = _planned(found, size, means, [*grid, *training_choices(found, size, means, fixed, apart_mm)])
    return replace(made, failed=failed)


def _unless(choices: Iterable[Choice], chosen: Collection[str]) -> list[Choice]:
    """Return the choices for settings not in `chosen`."""
    return [one for one in choices if one.setting not in chosen]


@dataclass(frozen=True)
class _Opened:
    """A raw dataset: its structures, and the cases of two splits."""

    folder: Path
    labels: LabelSet
    training: list[Case]
    validation: list[Case]

    def fingerprint(self, on_case: OnCase) -> tuple[Fingerprint, dict[str, str]]:
        """Return the fingerprint from some training cases, and the errors of unreadable ones by name.

        Raises:
            DatasetError: If none of them can be read.
        """
        failed: dict[str, str] = {}

        def read(case: Case) -> CasePrint | None:
            try:
                return _print_of(case, self.labels)
            except TomosegError as error:
                failed[case.name] = str(error)
                return None

        found = _prints(self.training, read, on_case)
        if not found:
            reason = next(iter(reversed(failed.values())), "there is no training case")
            raise DatasetError(
                f"{self.folder}: expected at least one training case that can be read, got none; {reason}"
            )
        annotated = {name: sum(name in case.annotated for case in self.training) for name in self.labels.names}
        return Fingerprint.of(found, annotated, len(self.training), len(self.validation)), failed


def _prints(
    cases: Sequence[SomeCase], read: Callable[[SomeCase], CasePrint | None], on_case: OnCase
) -> list[CasePrint]:
    """Return the prints of some cases, spread over all; of more, as long as none that could be read has a structure."""
    spread: list[int] = evenly_spread(len(cases), MOST_LOOKED_AT) if cases else []
    found: list[CasePrint] = []
    for done, k in enumerate([*spread, *sorted(set(range(len(cases))).difference(spread))], start=1):
        if done > len(spread) and any(one.masks for one in found):
            break
        one = read(cases[k])
        found += [] if one is None else [one]
        on_case(done, max(done, len(spread)))
    return found


def _opened(dataset: Path, config: PreprocessConfig) -> _Opened:
    opened = open_dataset(dataset)
    labels = opened.labels.subset(config.structures) if config.structures else opened.labels
    cases, _, _ = believed(opened, config)
    splits = assign_splits(cases, config.validation_share, config.test_share, config.seed)
    training, validation = ([case for case in cases if splits[case.name] == s] for s in ("train", "validation"))
    return _Opened(dataset, labels, training, validation)


def _slice_of(found: Fingerprint, edge_mm: float, view: str) -> tuple[int, int]:
    """Return the size of a view's slices on a grid in pixels."""
    apart = slice_spacing_of(found, edge_mm)[0] or found.spacing_mm[2]
    x, y = pixels_of(found, edge_mm)
    first, second, _ = ordered((x, y, max(1, round(found.extent_mm[2] / apart))), view)
    return first, second


def _apart_mm(grid: GridConfig, edges_mm: tuple[float, float, float]) -> float:
    """Return the slice spacing of a view on a grid in mm.

    Args:
        grid: The grid; its own spacing has precedence, since that of a case differs by rounding.
        edges_mm: Voxel spacing in mm along x, y and z, used if the grid has none.
    """
    x, y, z = edges_mm
    if grid.mode == "spacing":
        x, y, z = grid.spacing_mm, grid.spacing_mm, grid.slice_spacing_mm or z
    return ordered((x, y, z), grid.view)[2]


def _planned(found: Fingerprint, size: Size, means: Means, choices: Sequence[Choice]) -> DatasetPlan:
    structures = len(found.structures)
    needed = means.cost.minutes_for(wanted_slices(structures), max(1, size.batch_size), size.work)
    return DatasetPlan(found, tuple(choices), size, means, outlook(size.slices, size.steps, structures, needed))


def _means(asked: PlanRequest, measured: Callable[[float], StepCost], device: str = "auto") -> Means:
    on_gpu = device_name(device) != "cpu"
    cores = os.cpu_count() or 1
    minutes = asked.minutes or DEFAULT_MINUTES
    cost = measured(minutes) if asked.measures else usual_cost(on_gpu=on_gpu, cores=cores)
    memory = asked.memory_bytes or _free(on_gpu=on_gpu)
    return Means(minutes, cost, memory, on_gpu, cores)


def _free(*, on_gpu: bool) -> int:
    if on_gpu:
        import torch

        return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else int(psutil.virtual_memory().available)
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def _print_of(case: Case, labels: LabelSet) -> CasePrint:
    volume = read_case(case)
    load = mask_loader(case, labels, volume.source)
    box = body_box(volume.hu, volume.spacing_mm, GridConfig().body_margin_mm)
    names = [name for name in case.annotated if name in labels]
    masks = ((name, BoxedMask.of(load(labels.channel(name)))) for name in names)
    return case_print(volume.hu, volume.spacing_mm, box, masks)


def _cost_of_raw(opened: _Opened, edge_mm: float, config: PreprocessConfig, minutes: float) -> StepCost:
    """Measure the cost of a step on two readable cases, resampled to the finest grid."""
    grid = config.grid
    if not named(config) & GRID_SIZES:
        grid = put_over(config, {"grid.mode": "spacing", "grid.spacing_mm": edge_mm}).grid
    some = {"train": _from_the_middle(opened.training), "validation": _from_the_middle(opened.validation)}
    with tempfile.TemporaryDirectory(prefix="tomoseg-plan-") as folder:
        preprocess_some(some, opened.labels, grid, Path(folder))
        return _measured(Preprocessed(Path(folder)), TRAIN_PRESETS["default"], frozenset(), minutes)


def _from_the_middle(cases: Sequence[Case]) -> list[Case]:
    return [cases[k] for k in sorted(range(len(cases)), key=lambda k: abs(k - len(cases) // 2))]


def _measured(data: Preprocessed, config: TrainConfig, chosen: frozenset[str], minutes: float) -> StepCost:
    from tomoseg.training.measure import measure_cost  # takes PyTorch

    if "network.channels" not in chosen:
        levels = levels_of(data.split("train")[0].shape[:2])
        config = put_over(config, {"network.channels": channels_of(WIDTHS[0], levels)})
    return measure_cost(data, config.of_view(data.grid.view) if config.views else config, minutes)


def plan_training(
    data: Preprocessed, config: TrainConfig, asked: PlanRequest, on_case: OnCase = lambda done, total: None
) -> DatasetPlan:
    """Plan settings for training on a preprocessed dataset; its grid stays.

    Args:
        data: The dataset.
        config: Given settings; those chosen explicitly stay.
        asked: Memory limit, and time limit if the settings have none.
        on_case: Called with the number of cases examined and the total number of cases.

    Raises:
        DatasetError: If there are no training cases.
        ConfigError: If memory cannot hold any plan.
    """
    training = data.split("train")
    found = _fingerprint_of_preprocessed(data, training, on_case)
    chosen = named(config)
    length = config.minutes is None and (config.steps is not None or config.epochs is not None)
    timed = replace(asked, minutes=config.minutes or asked.minutes, measures=asked.measures and not length)
    means = _means(timed, lambda minutes: _measured(data, config, chosen, minutes), config.device)
    shape = _median_of([case.shape for case in training])
    patch = (round(shape[0]), round(shape[1]))
    means = replace(means, cost=means.cost.times(_largest_view(shape, config)))
    edge = training[0].grid_spacing_mm[0]
    kept = chosen | ({"batch_size"} if length else set())
    size = choose_size([(edge, patch)], len(data.labels), means, config, kept)
    if length:
        size = replace(size, slices=_slices_of_length(config, len(training)))
    edges_mm = unordered(_median_of([case.grid_spacing_mm for case in training]), data.grid.view)
    choices = training_choices(found, size, means, config, _apart_mm(data.grid, edges_mm))
    made = _planned(found, size, means, _unless(choices, kept))
    return replace(made, is_timed=not length)


def _median_of(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in np.median(rows, axis=0))
    return x, y, z


def _largest_view(shape: tuple[float, float, float], config: TrainConfig) -> float:
    """Return the ratio of the pixels of the largest slices among the trained views to those of axial slices."""
    if not config.views or config.sampling.patch_size is not None:
        return 1.0
    return max(math.prod(ordered(shape, view)[:2]) for view in config.views) / math.prod(shape[:2])


def _fingerprint_of_preprocessed(
    data: Preprocessed, training: Sequence[PreprocessedCase], on_case: OnCase
) -> Fingerprint:
    read = _prints(training, lambda case: _print_of_preprocessed(case, data.labels), on_case)
    annotated = {
        name: sum(channel in case.record.annotated for case in training)
        for channel, name in enumerate(data.labels.names)
    }
    return Fingerprint.of(read, annotated, len(training), sum(case.split == "validation" for case in data.cases))


def _slices_of_length(config: TrainConfig, cases: int) -> int:
    of_epochs = math.inf if config.epochs is None else config.epochs * cases * config.sampling.slices_per_case
    of_steps = math.inf if config.steps is None else config.steps * config.batch_size * config.accumulation
    return int(min(of_epochs, of_steps))


def _print_of_preprocessed(case: PreprocessedCase, labels: LabelSet) -> CasePrint:
    """Return the facts about a case from its preprocessed arrays; extents are those of the grid."""
    back = axes_back(case.view)
    hu, packed = case.ct().transpose(back), case.masks()

    def masks() -> Iterator[tuple[str, BoxedMask]]:
        for channel in case.record.annotated:
            mask = mask_in(packed[channel // 8], channel).transpose(back)
            yield labels.names[channel], BoxedMask.of(mask)

    on_grid = unordered(case.grid_spacing_mm, case.view)
    found = case_print(hu, on_grid, tuple((0, n) for n in hu.shape), masks())
    return replace(found, spacing_mm=unordered(case.spacing_mm, case.view))


def write_plan(found: DatasetPlan, output: Path) -> None:
    """Write a plan's settings, with their reasons, as YAML for `--config`.

    Raises:
        OutputError: If the file cannot be written.
    """
    lines = [f"# {line}" for line in ("Planned by tomoseg plan.", found.outlook)]
    settings: dict[str, dict[str, Choice] | Choice] = {}
    for one in found.choices:
        group, _, name = one.setting.rpartition(".")
        if group:
            settings.setdefault(group, {})[name] = one  # type: ignore[index]
        else:
            settings[name] = one
    for key, value in settings.items():
        if isinstance(value, Choice):
            lines += _written(key, value, "")
            continue
        lines.append(f"{key}:")
        for name, one in value.items():
            lines += _written(name, one, "  ")
    write_whole_text(output, "\n".join(lines) + "\n")


def _written(name: str, one: Choice, indent: str) -> list[str]:
    value = yaml.safe_dump(_plain(one.value), default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return [f"{indent}# {one.reason}", f"{indent}{name}: {value}"]


def _plain(value: object) -> object:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
