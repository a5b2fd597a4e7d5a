"""Synthetic bodies as a dataset on disk, laid out as phantoms are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.body import MadeBody, make_body
from tomoseg.bodies.config import BodyConfig
from tomoseg.bodies.read import PROCEDURAL, procedural_anatomy, read_case_anatomy
from tomoseg.datasets.cases import MaskCase
from tomoseg.datasets.mask_cases import find_mask_cases
from tomoseg.files.atomic import whole_file
from tomoseg.phantom.body import generator
from tomoseg.phantom.write import make_cases, write_case
from tomoseg.version import __version__

RECORD = "made.json"
"""Name of the file in a case's folder that records its source and seed."""

Source = MaskCase | None
"""A case with a label map, or the procedural phantom."""


def find_sources(paths: Sequence[str | Path]) -> list[Source]:
    """The cases that paths hold; `procedural` stands for the phantom's anatomies.

    Raises:
        DatasetError: If a path holds no label maps.
        InputError: If a JSON file cannot be read.
        LabelError: If a file of labels says a name or a value twice.
    """
    found: list[Source] = []
    for path in paths:
        found += [None] if str(path) == PROCEDURAL else find_mask_cases(Path(path))
    return found


@dataclass(frozen=True)
class SourceFacts:
    """Summary of an anatomy, for a check before bodies are made of it.

    Attributes:
        name: Name of the case.
        structures: Number of structures present.
        generic: Structures drawn as a generic soft tissue, since their names are not known.
        overlapping: Number of voxels in several structures.
    """

    name: str
    structures: int
    generic: tuple[str, ...]
    overlapping: int


def check_sources(sources: Sequence[Source]) -> list[SourceFacts]:
    """Read each anatomy once, so that one that cannot be used is known before a body is made.

    Raises:
        InputError: If a file cannot be read, or a map cannot be used.
        LabelError: If a map holds a value that has no name.
    """
    facts = []
    for source in sources:
        if source is not None:
            anatomy = _read(source)
            there = [name for n, name in enumerate(anatomy.labels.names, start=1) if n in anatomy.boxes]
            generic = tuple(name for name in anatomy.generic if name in there)
            facts.append(SourceFacts(source.name, len(there), generic, anatomy.overlapping))
    return facts


def write_body(body: MadeBody, case_folder: Path) -> None:
    """Write `ct.nii.gz` and a mask file for each structure; an empty one says that it is absent.

    Raises:
        OutputError: If a file cannot be written.
    """
    write_case(case_folder, body.volume.hu, body.packed, body.labels, body.volume.source)


def make_body_dataset(
    folder: Path,
    sources: Sequence[Source],
    counts: Mapping[str, int],
    seed: int,
    config: BodyConfig,
    spacing_mm: tuple[float, float, float],
    *,
    workers: int = 2,
    on_done: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write a dataset of bodies: `folder/<split>/<split>_000`, ..., made of the sources in turn.

    Cases that are there already are kept, whatever they were made of.

    Args:
        folder: Made if missing.
        sources: Sources of the bodies, from `find_sources`.
        counts: Number of cases of each split.
        seed: 0 or more; another seed gives other bodies throughout.
        config: Ranges to draw from.
        spacing_mm: Voxel spacing of the scans that are not on their scanner's own grid.
        workers: Processes, 1 or more.
        on_done: Called with the folder of each case as it becomes whole, and at once for those there already.

    Returns:
        The folders of all cases, in the order of `counts`.

    Raises:
        InputError: If a count is negative or too large, `workers` is below 1, or a label map cannot be used.
        OutputError: If a file cannot be written.
    """
    make = partial(_make_case, sources=tuple(sources), config=config, spacing_mm=spacing_mm)
    return make_cases(folder, counts, seed, make, workers=workers, on_done=on_done)


def _make_case(
    folder: Path,
    seed: int,
    sources: tuple[Source, ...],
    config: BodyConfig,
    spacing_mm: tuple[float, float, float],
) -> None:
    source = sources[seed % len(sources)]
    anatomy = procedural_anatomy(seed) if source is None else _read(source)
    own_grid = generator(seed, "grid").random() < config.scanner.own_grid_share
    body = make_body(anatomy, seed, config, None if own_grid else spacing_mm)
    write_body(body, folder)
    made_of = PROCEDURAL if source is None else source.name
    record = {"anatomy": made_of, "seed": seed, "phase": body.phase, "version": __version__}
    with whole_file(folder / RECORD) as path:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


_KEPT: dict[str, Anatomy] = {}
_MOST_KEPT = 16


def _read(source: MaskCase) -> Anatomy:
    """An anatomy, read once a process."""
    name = str(source.first_file)
    if name not in _KEPT:
        if len(_KEPT) >= _MOST_KEPT:
            _KEPT.clear()
        _KEPT[name] = read_case_anatomy(source)
    return _KEPT[name]
