"""Contents of a dataset: cases per structure, missing masks, and ranges of spacing, extent and volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tomoseg.volume import SourceGrid

Range = tuple[float, float]
Triple = tuple[float, float, float]


def extent_of(grid: SourceGrid) -> Triple:
    """Return the extent of a scan along x, y and z in mm."""
    x, y, z = (voxels * edge for voxels, edge in zip(grid.canonical_shape, grid.spacing_mm, strict=True))
    return x, y, z


@dataclass(frozen=True)
class CaseHolding:
    """Contents of one case.

    Attributes:
        name: The name of the case.
        annotated: Names of the annotated structures.
        volumes_ml: Volumes in ml of those whose masks were measured; 0 for an empty mask.
        spacing_mm: Voxel spacing of the scan in mm; None if it was not read.
        extent_mm: Extent of the scan in mm, with whole voxels at both ends; None if it was not read.
    """

    name: str
    annotated: tuple[str, ...]
    volumes_ml: Mapping[str, float]
    spacing_mm: Triple | None
    extent_mm: Triple | None = None


@dataclass(frozen=True)
class StructureHolding:
    """Masks of one structure in a dataset.

    Attributes:
        cases: Number of cases in which it is annotated.
        empty: Number of cases with an empty mask; None if masks were not measured.
        volume_ml: Smallest and largest volume of masks that are not empty; None if there are none.
        median_ml: Median volume of these.
    """

    cases: int
    empty: int | None
    volume_ml: Range | None
    median_ml: float | None


@dataclass(frozen=True)
class Holdings:
    """Contents of a dataset.

    Attributes:
        cases: Number of cases.
        structures: Masks of each structure by name, in the order of the label set.
        lacking: Structures without a mask, by case, if there are any; these are unknown, not absent.
        spacing_mm: Range of the voxel spacing along x, y and z; None if no scan was read.
        extent_mm: Range of the extent along x, y and z; None if no scan was read.
    """

    cases: int
    structures: dict[str, StructureHolding]
    lacking: dict[str, tuple[str, ...]]
    spacing_mm: tuple[Range, Range, Range] | None
    extent_mm: tuple[Range, Range, Range] | None = None

    @classmethod
    def of(cls, cases: Sequence[CaseHolding], names: Iterable[str]) -> Holdings:
        """Sum up the contents of all cases.

        Args:
            cases: Contents of each case.
            names: Names of the dataset's structures.

        Example:
            >>> both = [CaseHolding("a", ("jaw", "cord"), {}, None), CaseHolding("b", ("cord",), {}, None)]
            >>> found = Holdings.of(both, ("jaw", "cord"))
            >>> found.structures["jaw"].cases, found.lacking
            (1, {'b': ('jaw',)})
        """
        names = tuple(names)
        lacking = {case.name: _lacking(case, names) for case in cases}
        return cls(
            len(cases),
            {name: _of_structure(name, cases) for name in names},
            {case: lack for case, lack in lacking.items() if lack},
            _ends_along(case.spacing_mm for case in cases),
            _ends_along(case.extent_mm for case in cases),
        )


def _lacking(case: CaseHolding, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in case.annotated)


def _ends_along(lengths_mm: Iterable[Triple | None]) -> tuple[Range, Range, Range] | None:
    """Return the ranges along x, y and z; None if no lengths are known."""
    known = [one for one in lengths_mm if one is not None]
    if not known:
        return None
    x, y, z = ([float(one[axis]) for one in known] for axis in range(3))
    return (min(x), max(x)), (min(y), max(y)), (min(z), max(z))


def _of_structure(name: str, cases: Sequence[CaseHolding]) -> StructureHolding:
    volumes = [case.volumes_ml[name] for case in cases if name in case.volumes_ml]
    seen = [volume for volume in volumes if volume > 0]
    return StructureHolding(
        sum(name in case.annotated for case in cases),
        len(volumes) - len(seen) if volumes else None,
        (min(seen), max(seen)) if seen else None,
        float(np.median(seen)) if seen else None,
    )
