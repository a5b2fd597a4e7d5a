"""Scenes for the viewer: the scan, all masks as one volume of cells, and facts about each structure.

Masks may overlap, which a label map cannot represent. A cell is a set of structures that share some voxel: each voxel
has the number of its cell, and a table lists the structures of each cell, the smallest first. A viewer gives every cell
the colour of its first visible structure, so that hiding a structure reveals those under it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int16, UInt8, UInt16

from tomoseg.evaluation.measure import Measurement, measure_mask
from tomoseg.labels import LabelSet, Structure, counterpart
from tomoseg.masks import BoxedMask
from tomoseg.notices import Notice, by_weight
from tomoseg.volume import SourceGrid, Volume

MOST_CELLS = 2048
"""Maximum number of cells: the widest colour table that every graphics card supports."""

MOST_VOXELS = 150_000_000
"""Maximum voxels shown in full; of larger scans every other one, since browsers hold copies of four bytes per voxel."""

FEW_VOXELS = 30
"""Structures with fewer voxels are probably remnants."""

UNLIKE_COUNTERPART = 2.5
"""Ratio of the volumes of left and right from which a warning is given."""


@dataclass(frozen=True)
class Cells:
    """Masks that may overlap, as one volume.

    Attributes:
        values: `(x, y, z)`, number of the cell of each voxel; 0 is none.
        table: Numbers of the structures of each cell, the smallest structure first; the first cell is empty.
        merged: Number of voxels that keep only their smallest structure, because there were too many cells.
    """

    values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]
    table: tuple[tuple[int, ...], ...]
    merged: int = 0

    def mask(self, number: int) -> Bool[np.ndarray, "x y z"]:
        """Return the mask of a structure."""
        return np.array([number in inside for inside in self.table])[self.values]


def cells_of(masks: Sequence[BoxedMask], shape: tuple[int, int, int]) -> Cells:
    """Combine masks into one volume.

    Args:
        masks: The masks, indexed by number.
        shape: Number of voxels of the scan along x, y and z.

    Example:
        >>> left, both = np.zeros((2, 3, 1), bool), np.ones((2, 3, 1), bool)
        >>> left[0] = True
        >>> cells = cells_of([BoxedMask.of(both), BoxedMask.of(left)], (2, 3, 1))
        >>> cells.table, cells.values[:, 0, 0].tolist()
        (((), (0,), (1, 0)), [2, 1])
    """
    table: list[tuple[int, ...]] = [()]
    known: dict[tuple[int, ...], int] = {(): 0}
    values = np.zeros(shape, np.uint16, order="F")
    merged = 0
    for number in sorted(range(len(masks)), key=lambda n: -masks[n].voxels):  # smallest last, on top
        mask = masks[number]
        before = values[mask.box][mask.inside]
        put = np.zeros(len(table), np.uint16)
        for cell in np.unique(before).tolist():
            inside = (number, *table[cell])
            if inside not in known and len(table) >= MOST_CELLS - len(masks) and cell:
                merged += int(np.count_nonzero(before == cell))
                inside = (number,)
            if inside not in known:
                known[inside] = len(table)
                table.append(inside)
            put[cell] = known[inside]
        values[mask.box][mask.inside] = put[before]
    return Cells(values if len(table) > 256 else values.astype(np.uint8), tuple(table), merged)


@dataclass(frozen=True)
class Entry:
    """A structure in the list.

    Attributes:
        structure: Its name, group and colour.
        measured: Its measurements.
        middle: Its voxel nearest to its centre; None if it is empty.
        warnings: `border`, `few voxels`, `unlike counterpart`.
        dice: Dice with the reference; None without one, or if it is empty, as in an evaluation.
        version: Version of the correction shown, if any.
    """

    structure: Structure
    measured: Measurement
    middle: tuple[int, int, int] | None
    warnings: tuple[str, ...]
    dice: float | None = None
    version: int | None = None


@dataclass(frozen=True)
class Scene:
    """Scan, masks and facts shown for a case.

    Attributes:
        hu: `(x, y, z)`, RAS+, the scan in HU at the shown voxels.
        cells: The masks on the same voxels.
        reference: The reference masks, if any.
        entries: The structures, indexed by their numbers.
        grid: The scan's own grid.
        step: 1 if every voxel of the scan is shown, 2 if every other one is.
        notices: Notices about the case.
    """

    hu: Int16[np.ndarray, "x y z"]
    cells: Cells
    reference: Cells | None
    entries: tuple[Entry, ...]
    grid: SourceGrid
    step: int
    notices: tuple[Notice, ...]

    @property
    def affine(self) -> np.ndarray:
        """`(4, 4)`, affine from indices of shown voxels to RAS+ mm."""
        return self.grid.canonical_affine @ np.diag([self.step, self.step, self.step, 1.0])


def scene_of(
    volume: Volume,
    labels: LabelSet | None,
    masks: Mapping[str, BoxedMask],
    reference: Mapping[str, BoxedMask] | None = None,
    notices: Sequence[Notice] = (),
) -> Scene:
    """Build the scene of a case.

    Args:
        volume: The scan.
        labels: All structures of both; None if there are no masks.
        masks: Masks by name, on the scan's voxels; missing ones are empty.
        reference: Masks to compare with, likewise.
        notices: Notices in addition to those of the scan.
    """
    structures = () if labels is None else labels.structures
    ours = _in_order(structures, masks, volume.shape)
    theirs = None if reference is None else _in_order(structures, reference, volume.shape)
    step = 1 if volume.hu.size <= MOST_VOXELS else 2
    return Scene(
        volume.hu[::step, ::step, ::step],
        _every(cells_of(ours, volume.shape), step),
        None if theirs is None else _every(cells_of(theirs, volume.shape), step),
        tuple(_entries(structures, ours, theirs, volume, step)),
        volume.source,
        step,
        by_weight((*volume.warnings, *notices)),
    )


def _in_order(
    structures: Sequence[Structure], masks: Mapping[str, BoxedMask], shape: tuple[int, int, int]
) -> list[BoxedMask]:
    empty = BoxedMask(np.zeros((0, 0, 0), bool), (0, 0, 0), shape)
    return [masks.get(one.name, empty) for one in structures]


def _entries(
    structures: Sequence[Structure],
    ours: Sequence[BoxedMask],
    theirs: Sequence[BoxedMask] | None,
    volume: Volume,
    step: int,
) -> Iterator[Entry]:
    sizes = {one.name: mask.voxels for one, mask in zip(structures, ours, strict=True)}
    for number, (structure, mask) in enumerate(zip(structures, ours, strict=True)):
        measured = measure_mask(structure.name, mask, volume)
        dice = None if theirs is None else mask.dice(theirs[number])
        yield Entry(structure, measured, _middle(mask, step), _warnings(measured, sizes), dice)


def _every(cells: Cells, step: int) -> Cells:
    return Cells(cells.values[::step, ::step, ::step], cells.table, cells.merged)


def _middle(mask: BoxedMask, step: int) -> tuple[int, int, int] | None:
    """Return the voxel of a mask nearest to its centre, which itself may lie outside of a bent structure."""
    if not mask.voxels:
        return None
    inside = np.argwhere(mask.inside)
    nearest = inside[((inside - inside.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    x, y, z = ((nearest + mask.start) // step).tolist()
    return (x, y, z)


def _warnings(measured: Measurement, sizes: Mapping[str, int]) -> tuple[str, ...]:
    size, other = sizes[measured.structure], sizes.get(counterpart(measured.structure), 0)
    if not size:
        return ()
    unlike = bool(other) and max(size, other) > UNLIKE_COUNTERPART * min(size, other)
    found = (
        ("border", bool(measured.touches_border)),
        ("few voxels", size < FEW_VOXELS),
        ("unlike counterpart", unlike),
    )
    return tuple(name for name, is_so in found if is_so)
