"""Fingerprint of a dataset: the few numbers that settings depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16

from tomoseg.masks import BoxedMask

Range = tuple[float, float]
Triple = tuple[float, float, float]

MOST_LOOKED_AT = 8
"""Training cases whose voxels are read: large scans with 117 masks take some ten seconds each."""

TISSUE_PERCENT = (5, 50, 95)
BODY_PERCENT = (0.5, 50, 99.5)


@dataclass(frozen=True)
class MaskPrint:
    """One structure in one case.

    Attributes:
        volume_ml: Its volume.
        thickness_mm: Mean length of the lines through it along x, y and z.
        share: Fraction of the voxels of the body's box that are inside.
        hu: 5th, 50th and 95th percentile of its HU.
    """

    volume_ml: float
    thickness_mm: Triple
    share: float
    hu: Triple


@dataclass(frozen=True)
class CasePrint:
    """One case.

    Attributes:
        spacing_mm: Voxel spacing of the scan along x, y and z.
        extent_mm: Extent of the box around the body.
        hu: 0.5th, 50th and 99.5th percentile of the HU of its voxels above air.
        masks: Structures with a mask that is not empty.
        empty: Structures with an empty mask.
    """

    spacing_mm: Triple
    extent_mm: Triple
    hu: Triple
    masks: Mapping[str, MaskPrint]
    empty: tuple[str, ...] = ()


@dataclass(frozen=True)
class StructurePrint:
    """One structure over the dataset; medians over the cases that contain it.

    Attributes:
        name: Name of the structure.
        annotated: Number of training cases in which it is annotated.
        looked_at: Number of these whose masks were read.
        present: Number of these with a mask that is not empty; if 0, nothing else is known.
        volume_ml: Its volume.
        thickness_mm: Mean length of the lines through it along x, y and z.
        share: Fraction of the voxels of the body's box that are inside.
        hu: 5th, 50th and 95th percentile of its HU.
    """

    name: str
    annotated: int
    looked_at: int
    present: int
    volume_ml: float = 0.0
    thickness_mm: Triple = (0.0, 0.0, 0.0)
    share: float = 0.0
    hu: Triple = (0.0, 0.0, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether any mask that was read contains it."""
        return self.present > 0


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a dataset.

    Attributes:
        cases: Number of training cases.
        validation: Number of validation cases.
        looked_at: Number of training cases that were read.
        spacing_mm: Median voxel spacing of the scans along x, y and z.
        spacing_range_mm: Smallest and largest voxel spacing along each axis.
        extent_mm: Median extent of the box around the body.
        hu: 0.5th, 50th and 99.5th percentile of HU above air; medians over cases.
        structures: The structures, in the order of the label set.
    """

    cases: int
    validation: int
    looked_at: int
    spacing_mm: Triple
    spacing_range_mm: tuple[Range, Range, Range]
    extent_mm: Triple
    hu: Triple
    structures: tuple[StructurePrint, ...]

    @property
    def known(self) -> tuple[StructurePrint, ...]:
        """Structures that occur in any mask that was read."""
        return tuple(one for one in self.structures if one.is_known)

    @property
    def never_seen(self) -> tuple[str, ...]:
        """Structures that are annotated in no training case, or empty in all of them."""
        return tuple(
            one.name
            for one in self.structures
            if one.annotated == 0 or (one.present == 0 and one.looked_at == one.annotated)
        )

    @classmethod
    def of(
        cls, cases: Sequence[CasePrint], annotated: Mapping[str, int], training: int, validation: int = 0
    ) -> Fingerprint:
        """Make the fingerprint of all cases.

        Args:
            cases: Cases that were read, at least one.
            annotated: Number of training cases in which each structure is annotated.
            training: Number of training cases.
            validation: Number of validation cases.

        Example:
            >>> one = CasePrint((1, 1, 5), (300, 200, 100), (-900, 0, 800), {}, empty=("liver",))
            >>> Fingerprint.of([one], {"liver": 1}, 1).never_seen
            ('liver',)
        """
        edges = np.array([case.spacing_mm for case in cases], np.float64)
        ends = [(float(low), float(high)) for low, high in zip(edges.min(0), edges.max(0), strict=True)]
        return cls(
            training,
            validation,
            len(cases),
            _median([case.spacing_mm for case in cases]),
            (ends[0], ends[1], ends[2]),
            _median([case.extent_mm for case in cases]),
            _median([case.hu for case in cases]),
            tuple(_of_structure(name, number, cases) for name, number in annotated.items()),
        )


def case_print(
    hu: Int16[np.ndarray, "x y z"],
    spacing_mm: Triple,
    box: tuple[tuple[int, int], ...],
    masks: Iterable[tuple[str, BoxedMask]],
) -> CasePrint:
    """Make the fingerprint of one case.

    Args:
        hu: The scan in HU, in RAS+ order.
        spacing_mm: Its voxel spacing.
        box: The box of the body: first voxel and one past the last along each axis.
        masks: The annotated structures with their masks on the scan.
    """
    extent = [(high - low) * edge for (low, high), edge in zip(box, spacing_mm, strict=True)]
    voxels = int(np.prod([high - low for low, high in box]))
    body = hu[tuple(slice(low, high) for low, high in box)]
    body = body[body > body.min()]
    found: dict[str, MaskPrint] = {}
    empty = []
    for name, mask in masks:
        if mask.voxels:
            found[name] = _of_mask(mask, hu, spacing_mm, voxels)
        else:
            empty.append(name)
    return CasePrint(
        _triple(spacing_mm), _triple(extent), _percentiles(body, BODY_PERCENT) if body.size else (0.0, 0.0, 0.0),
        found, tuple(empty),
    )  # fmt: skip


def thickness_mm(mask: BoxedMask, spacing_mm: Triple) -> Triple:
    """Return the mean length of the lines through a mask along each axis: its volume divided by its projected area.

    Args:
        mask: A mask that is not empty.
        spacing_mm: Voxel spacing.

    Example:
        >>> rod = np.zeros((9, 9, 9), bool)
        >>> rod[2:4, 3, :] = True
        >>> thickness_mm(BoxedMask.of(rod), (1.0, 1.0, 5.0))
        (2.0, 1.0, 45.0)
    """
    voxels = mask.voxels
    x, y, z = (voxels / np.count_nonzero(mask.inside.any(axis=a)) * e for a, e in enumerate(spacing_mm))
    return float(x), float(y), float(z)


def _of_mask(mask: BoxedMask, hu: Int16[np.ndarray, "x y z"], spacing_mm: Triple, around: int) -> MaskPrint:
    return MaskPrint(
        mask.voxels * float(np.prod(spacing_mm)) / 1000,
        thickness_mm(mask, spacing_mm),
        min(1.0, mask.voxels / around),
        _percentiles(hu[mask.box][mask.inside], TISSUE_PERCENT),
    )


def _of_structure(name: str, annotated: int, cases: Sequence[CasePrint]) -> StructurePrint:
    held = [case.masks[name] for case in cases if name in case.masks]
    looked_at = len(held) + sum(name in case.empty for case in cases)
    if not held:
        return StructurePrint(name, annotated, looked_at, 0)
    return StructurePrint(
        name,
        annotated,
        looked_at,
        len(held),
        float(np.median([one.volume_ml for one in held])),
        _median([one.thickness_mm for one in held]),
        float(np.median([one.share for one in held])),
        _median([one.hu for one in held]),
    )


def _median(values: Sequence[Triple]) -> Triple:
    return _triple(np.median(np.array(values, np.float64), axis=0))


def _percentiles(values: np.ndarray, percent: tuple[float, float, float]) -> Triple:
    return _triple(np.percentile(values, percent))


def _triple(values: Iterable[float]) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z
