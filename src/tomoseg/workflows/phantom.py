"""`tomoseg phantom`: a dataset of procedural CTs, or of bodies made from label maps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tomoseg.bodies.body import check_request
from tomoseg.bodies.config import BodyConfig
from tomoseg.bodies.write import SourceFacts, check_sources, find_sources, make_body_dataset
from tomoseg.files.outputs import check_folder
from tomoseg.phantom import make_phantom_dataset

SLICE_MM = 5.0
"""Slice spacing in mm."""


def make_dataset(
    folder: Path,
    counts: Mapping[str, int],
    seed: int = 0,
    spacing_mm: float = 3.0,
    on_done: Callable[[Path], None] | None = None,
) -> int:
    """Write phantoms as a dataset with splits; existing cases are kept.

    Args:
        folder: The dataset folder.
        counts: Number of cases of each split.
        seed: Seed of the bodies.
        spacing_mm: In-plane voxel spacing in mm.
        on_done: Called with the folder of each case.

    Returns:
        Number of cases of the dataset.

    Raises:
        InputError: If a count is negative.
        OutputError: If a file cannot be written.
    """
    _check_output(folder, counts)
    spacing = (spacing_mm, spacing_mm, SLICE_MM)
    return len(make_phantom_dataset(folder, counts, seed, spacing, workers=os.cpu_count() or 1, on_done=on_done))


@dataclass(frozen=True)
class MadeDataset:
    """A dataset of synthetic bodies.

    Attributes:
        cases: Number of cases of the dataset.
        sources: Facts about the anatomies used, without procedural ones.
    """

    cases: int
    sources: tuple[SourceFacts, ...]


def make_bodies(
    folder: Path,
    anatomy: Sequence[str],
    counts: Mapping[str, int],
    seed: int = 0,
    spacing_mm: float = 3.0,
    config: BodyConfig | None = None,
    on_done: Callable[[Path], None] | None = None,
) -> MadeDataset:
    """Write bodies made from label maps as a dataset with splits; existing cases are kept.

    Args:
        folder: The dataset folder.
        anatomy: Paths of label maps, folders of masks or datasets, used in turn; `procedural` for phantoms.
        counts: Number of cases of each split.
        seed: Seed of the bodies.
        spacing_mm: In-plane voxel spacing in mm.
        config: Ranges of the random parameters; the defaults if omitted.
        on_done: Called with the folder of each case.

    Returns:
        The dataset and its sources.

    Raises:
        DatasetError: If a path holds no label maps.
        InputError: If a count or the seed is negative, the voxels are too small, or a label map cannot be used.
        LabelError: If a label map holds a value that has no name.
        OutputError: If a file cannot be written.
    """
    _check_output(folder, counts)
    spacing = (spacing_mm, spacing_mm, SLICE_MM)
    check_request(seed, spacing)
    sources = find_sources(anatomy)
    facts = check_sources(sources)
    cases = make_body_dataset(
        folder, sources, counts, seed, config or BodyConfig(), spacing, workers=os.cpu_count() or 1, on_done=on_done
    )
    return MadeDataset(len(cases), tuple(facts))


def _check_output(folder: Path, counts: Mapping[str, int]) -> None:
    for place in (folder, *(folder / split for split, count in counts.items() if count > 0)):
        check_folder(place)
