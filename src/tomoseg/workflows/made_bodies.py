"""Synthetic bodies written directly as preprocessed datasets.

As NIfTI a body is a scan and a file for each of a hundred structures, which take longer to write and read than the body
takes to make. Here it is made, resampled to the network's grid and written in each view's axis order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from tomoseg.bodies import Anatomy, BodyConfig, MadeBody, make_body, procedural_anatomy, read_anatomy
from tomoseg.bodies.read import PROCEDURAL
from tomoseg.checks.scan import inspect_scan
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError
from tomoseg.files.atomic import whole_file, whole_folder
from tomoseg.files.outputs import begin_folder
from tomoseg.grid import Placement, place_grid, to_grid
from tomoseg.interrupts import interrupts_blocked
from tomoseg.labels import LabelSet
from tomoseg.phantom.body import generator
from tomoseg.preprocessed.format import CASE_RECORD, CASES, INDEX, DatasetIndex
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.volume import Volume, seen

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class BodySource:
    """Anatomy of some of the bodies, and their number.

    Attributes:
        path: A label map or a folder of masks, or `procedural` for a new phantom anatomy for each body.
        train: Number of training bodies.
        validation: Number of validation bodies.
    """

    path: str
    train: int = 0
    validation: int = 0

    @property
    def name(self) -> str:
        """Prefix of the names of its cases."""
        return Path(self.path).name.split(".")[0].split("_")[0]


@dataclass(frozen=True)
class BodyPlan:
    """The bodies to make, and their grid.

    Attributes:
        sources: Anatomies, and number of bodies of each.
        grid: The network's grid, in mode `spacing`.
        spacings_mm: Voxel spacings of the scans in mm along x, y and z; one is drawn for each body.
        seed: Seed of the bodies.
        labels: Structures of the dataset. Those that a source lacks count as absent, not as unknown.
        config: Ranges of the random parameters.

    Raises:
        ConfigError: If the grid has another mode.
    """

    sources: tuple[BodySource, ...]
    grid: GridConfig
    spacings_mm: tuple[Triple, ...] = ((3.0, 3.0, 5.0),)
    seed: int = 0
    labels: LabelSet = field(default_factory=LabelSet.total)
    config: BodyConfig = field(default_factory=BodyConfig)

    def __post_init__(self) -> None:
        if self.grid.mode != "spacing":
            raise ConfigError(f"expected a grid of mode spacing for synthetic bodies, got {self.grid.mode}")

    def jobs(self) -> Iterator[_Job]:
        """Yield the bodies, grouped by source so that each process reads few anatomies."""
        for number, source in enumerate(self.sources):
            for split, count in (("train", source.train), ("validation", source.validation)):
                first = ((self.seed * 1000 + number) * 2 + (split == "validation")) * 100_000
                for k in range(count):
                    yield _Job(f"{source.name}_{split}_{k:04d}", source, first + k, split)


@dataclass(frozen=True)
class _Job:
    name: str
    source: BodySource
    seed: int
    split: str


def preprocess_bodies(
    plan: BodyPlan,
    outputs: Mapping[str, Path],
    *,
    workers: int = 2,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make bodies and write them as one preprocessed dataset per view; existing cases are kept.

    Args:
        plan: The bodies to make.
        outputs: Folder of the dataset of each view.
        workers: Number of processes.
        on_done: Called after each body with the number of bodies done and the total number of bodies.

    Raises:
        InputError: If an anatomy cannot be read.
        OutputError: If a file cannot be written.
    """
    for folder in outputs.values():
        begin_folder(folder, (INDEX,))
    jobs = list(plan.jobs())
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        with interrupts_blocked():
            made = pool.map(partial(_make, plan=plan, outputs=dict(outputs)), jobs, chunksize=4)
        for done, _ in enumerate(made, start=1):
            on_done(done, len(jobs))
    splits = {job.name: job.split for job in jobs}
    for view, folder in outputs.items():
        index = DatasetIndex(plan.labels, plan.grid.model_copy(update={"view": view}), splits)
        with whole_file(folder / INDEX) as aside:
            aside.write_text(index.to_json(), encoding="utf-8")


def _make(job: _Job, plan: BodyPlan, outputs: Mapping[str, Path]) -> None:
    """Make one body and write it in each view that lacks it."""
    missing = {
        view: folder / CASES / job.name
        for view, folder in outputs.items()
        if not (folder / CASES / job.name / CASE_RECORD).is_file()
    }
    if not missing:
        return
    spacings = plan.spacings_mm
    spacing_mm = spacings[int(generator(job.seed, "voxels").integers(len(spacings)))]
    body = make_body(_anatomy(job), job.seed, plan.config, spacing_mm)
    volume, numbers = _on_grid(body, plan.grid)
    channels = _numbers_by_channel(body, plan.labels)
    parts = tuple(dict.fromkeys(part.name for part in inspect_scan(body.volume, contrast=False).parts))
    for view, folder in missing.items():
        turned = seen(numbers, view)

        def mask(channel: int, turned: UInt8[np.ndarray, "a b n"] = turned) -> Bool[np.ndarray, "a b n"]:
            return turned == channels[channel] if channel in channels else np.zeros(turned.shape, bool)

        every = tuple(range(len(plan.labels)))
        given = CaseInput(job.name, job.name, volume.seen(view), mask, every, len(every), f"seed {job.seed}", (), parts)
        own_voxels = GridConfig(mode="native", crop="none", view=view)
        with whole_folder(folder) as aside:
            write_case(given, aside, own_voxels, keep_native=False, threads=1)


def _anatomy(job: _Job) -> Anatomy:
    return procedural_anatomy(job.seed) if job.source.path == PROCEDURAL else _read(job.source.path)


@cache
def _read(path: str) -> Anatomy:
    return read_anatomy(Path(path))


def _on_grid(body: MadeBody, grid: GridConfig) -> tuple[Volume, UInt8[np.ndarray, "gx gy gz"]]:
    """Return the scan averaged on the network's grid, and the structure at the centre of each grid voxel."""
    volume = body.volume
    placement = place_grid(volume.hu, volume.spacing_mm, grid.model_copy(update={"view": "axial"}))
    near = np.ix_(*_middles(placement))
    x, y, z = (
        edge * extent / voxels
        for edge, extent, voxels in zip(volume.spacing_mm, placement.extent, placement.shape, strict=True)
    )
    scan = Volume.from_array(to_grid(volume.hu, placement), np.diag([x, y, z, 1.0]))
    return scan, np.ascontiguousarray(body.numbers[near])


def _middles(placement: Placement) -> list[np.ndarray]:
    """Return for each axis the index of the scan's voxel that contains the centre of each grid voxel."""
    return [
        start + ((np.arange(voxels) + 0.5) * extent / voxels).astype(np.int64)
        for start, extent, voxels in zip(placement.start, placement.extent, placement.shape, strict=True)
    ]


def _numbers_by_channel(body: MadeBody, labels: LabelSet) -> dict[int, int]:
    """Return for each channel of the dataset the value of the structure in the body's label map."""
    return {labels.channel(name): n for n, name in enumerate(body.labels.names, start=1) if name in labels}
