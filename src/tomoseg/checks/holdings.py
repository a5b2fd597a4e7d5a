"""What a dataset holds: cases for each structure, masks that cases lack, and how large voxels and structures are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tomoseg.volume import SourceGrid

Range = tuple[float, float]
Triple = tuple[float, float, float]


def extent_of(grid: SourceGrid) -> Triple:
    """What a scan shows along x, y and z, in mm."""
    x, y, z = (voxels * edge for voxels, edge in zip(grid.canonical_shape, grid.spacing_mm, strict=True))
    return x, y, z


@dataclass(frozen=True)
class CaseHolding:
    """What one case holds.

    Attributes:
        name: The name of the case.
        annotated: Structures that someone looked for.
        volumes_ml: The volumes in ml of those whose masks were measured; 0 for an empty mask.
        spacing_mm: Voxel edges of the scan; None where it was not read.
        extent_mm: What the scan shows, from the outer side of its first voxel to that of its last; None likewise.
    """

    name: str
    annotated: tuple[str, ...]
    volumes_ml: Mapping[str, float]
    spacing_mm: Triple | None
    extent_mm: Triple | None = None


@dataclass(frozen=True)
class StructureHolding:
    """What a dataset holds of one structure.

    Attributes:
        cases: In which someone looked for it.
        empty: Those of them whose mask has no voxel; None where masks were not measured.
        volume_ml: From the smallest to the largest mask that is not empty; None without one.
        median_ml: Their median.
    """

    cases: int
    empty: int | None
    volume_ml: Range | None
    median_ml: float | None


@dataclass(frozen=True)
class Holdings:
    """What a dataset holds.

    Attributes:
        cases: How many.
        structures: By name, in the order of the label set.
        lacking: For each case that lacks masks of structures that others have, which; these are unknown, not absent.
        spacing_mm: From the least to the largest voxel edge along x, y and z; None where no scan was read.
        extent_mm: The same of what scans show.
    """

    cases: int
    structures: dict[str, StructureHolding]
    lacking: dict[str, tuple[str, ...]]
    spacing_mm: tuple[Range, Range, Range] | None
    extent_mm: tuple[Range, Range, Range] | None = None

    @classmethod
    def of(cls, cases: Sequence[CaseHolding], names: Iterable[str]) -> Holdings:
        """All cases together.

        Args:
            cases: What each holds.
            names: The structures of the dataset.

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
    """From the least to the largest along x, y and z; None where none is known."""
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
