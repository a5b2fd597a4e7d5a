"""Anatomies from files, and from the procedural phantom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from tomoseg.bodies.anatomy import Anatomy, build_anatomy
from tomoseg.bodies.hulls import Flesh
from tomoseg.bodies.regions import Region
from tomoseg.datasets.cases import MaskCase
from tomoseg.datasets.label_ids import given_ids
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.errors import InputError
from tomoseg.files.label_names import label_set_named
from tomoseg.labels import LabelSet
from tomoseg.phantom.scan import paint_body
from tomoseg.phantom.tissues import TISSUE_NUMBER

PROCEDURAL = "procedural"
"""Given in place of a path of label maps: the procedural phantom's anatomies, another one for each body."""
PROCEDURAL_MM = (3.0, 3.0, 3.0)
_REGIONS = {
    "air": Region.AIR,
    "gut_fluid": Region.FLUID,
    "csf": Region.CSF,
    "eye": Region.FLUID,
    "disc": Region.DISC,
    "cartilage": Region.DISC,
    "bone": Region.BONE,
}
_MUSCLE = ("muscle", "gut_wall", "gut_fluid", "bronchus_wall", "myocardium", "cord", "stool")


def read_anatomies(path: Path) -> list[Anatomy]:
    """Read every anatomy in a path.

    Args:
        path: A label map whose values have names (`<map>.labels.json` or `labels.json` beside it, or `total` in its
            name for the 117), a folder of masks, or a dataset of any layout.

    Raises:
        DatasetError: If there is nothing of that kind.
        InputError: If a file cannot be read, or a map cannot be used.
        LabelError: If a map holds a value that has no name.
    """
    return [read_case_anatomy(case) for case in find_mask_cases(path)]


def read_anatomy(path: Path) -> Anatomy:
    """Read one anatomy; see `read_anatomies`.

    Raises:
        DatasetError: If there is none.
        InputError: If there are several, a file cannot be read, or the map cannot be used.
        LabelError: If the map holds a value that has no name.
    """
    cases = find_mask_cases(path)
    if len(cases) > 1:
        raise InputError(f"{path}: expected one label map, got {len(cases)} cases; pass one of them")
    return read_case_anatomy(cases[0])


def read_case_anatomy(case: MaskCase) -> Anatomy:
    """Read the anatomy of one case; voxels in several masks go to the smallest structure.

    Raises:
        InputError: If a file cannot be read, or the map cannot be used.
        GridError: If the masks lie on several grids.
        LabelError: If the map holds a value that has no name.
    """
    labels = label_set_named(case.annotated, given_ids(case.label_values))
    masks = OpenMasks(case)
    values = np.zeros(masks.grid.canonical_shape, np.uint16)
    found = [(structure.id, masks.mask(structure.name)) for structure in labels]
    overlapping = 0
    for number, mask in sorted(found, key=lambda one: -one[1].voxels):
        there = values[mask.box]
        overlapping += int(np.count_nonzero(there[mask.inside]))
        there[mask.inside] = number
    anatomy = build_anatomy(values, labels, masks.grid.canonical_affine, str(case.first_file))
    return replace(anatomy, overlapping=overlapping)


def procedural_anatomy(seed: int, spacing_mm: tuple[float, float, float] = PROCEDURAL_MM) -> Anatomy:
    """Make an anatomy of the procedural phantom's whole body for a seed.

    Args:
        seed: 0 or more.
        spacing_mm: Voxel spacing along x, y and z.

    Raises:
        InputError: If the seed is negative.
    """
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, got {seed}; choose another")
    canvas = paint_body(seed, spacing_mm)
    labels = LabelSet.total()
    tissue = canvas.tissue
    body = _members(("air", "table", "foam"))[tissue]
    body = ~body | (canvas.label > 0)
    table = np.zeros(256, np.uint8)
    for name, region in _REGIONS.items():
        table[TISSUE_NUMBER[name]] = region
    regions = np.where(body, table[tissue], 0).astype(np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [axis[0] for axis in canvas.axes]
    flesh = Flesh(body, _members(_MUSCLE)[tissue], regions)
    ids = np.array([0, *labels.ids], np.uint8)[canvas.label]
    return build_anatomy(ids, labels, affine, f"{PROCEDURAL} {seed}", flesh)


def _members(tissues: tuple[str, ...]) -> Bool[np.ndarray, "256"]:
    return np.isin(np.arange(256), [TISSUE_NUMBER[tissue] for tissue in tissues])
