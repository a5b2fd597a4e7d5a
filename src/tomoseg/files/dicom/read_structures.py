"""Reading of DICOM structure sets (RTSTRUCT): closed contours are filled on the slices that they were drawn on.

A structure set has no voxels: it is rasterised to the grid of its scan (`fill.py` defines which pixels are inside).
Points and open lines are ignored. A structure without a contour has an empty mask if it was generated automatically;
otherwise it is unknown, since nobody may have looked for it.

Source: DICOM PS3.3, A.19, C.8.8.5 and C.8.8.6.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydicom.dataset import Dataset

from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.dicom.headers import LARGEST_MM, quietly, read_dataset
from tomoseg.files.dicom.objects import usable_name
from tomoseg.files.fill import filled
from tomoseg.files.label_names import check_told_apart
from tomoseg.files.segments import Mask, Segments
from tomoseg.notices import Notice
from tomoseg.volume import GRID_TOLERANCE_VOXELS, SourceGrid

_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_TAGS = ("SpecificCharacterSet", "SOPClassUID", "StructureSetROISequence", "ROIContourSequence")


@dataclass(frozen=True)
class _Contour:
    """A closed contour: its points in RAS+ mm, and whether it is combined with others by exclusive or."""

    points_mm: Float[np.ndarray, "n 3"]
    exclusive: bool


@dataclass(frozen=True)
class StructureSet:
    """The contours of a file.

    Attributes:
        path: Path of the file, for messages.
        contours: Contours by structure.
        passed_over: Names of structures without a closed contour that are unknown.
    """

    path: str
    contours: dict[str, tuple[_Contour, ...]]
    passed_over: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Notices about structures that were left out."""
        if not self.passed_over:
            return ()
        names = ", ".join(self.passed_over[:6]) + (", ..." if len(self.passed_over) > 6 else "")
        text = f"{self.path}: Left out: structures without a closed contour ({names})."
        return (Notice(text, "left out"),)

    @property
    def corners_mm(self) -> Float[np.ndarray, "n 3"]:
        """`(8, 3)`, corners of the box around all contours in RAS+ mm; `(0, 3)` without a contour."""
        points = [contour.points_mm for each in self.contours.values() for contour in each]
        if not points:
            return np.zeros((0, 3))
        every = np.concatenate(points)
        return np.array(list(product(*zip(every.min(axis=0), every.max(axis=0), strict=True))))

    def on(self, grid: SourceGrid, name: str = "the scan") -> Segments:
        """Rasterise the structures to the grid of a scan.

        Args:
            grid: The grid.
            name: Name of its owner in messages.

        Returns:
            The masks; requesting one raises `GridError` if contours lie between or beyond the scan's slices.
        """
        axis = self._axis(grid)

        def mask(structure: str) -> Mask:
            return grid.to_canonical(self._filled(structure, grid, axis, name))

        return Segments(self.path, tuple(self.contours), grid, mask)

    def _axis(self, grid: SourceGrid) -> int:
        """Return the axis of the scan's file that is perpendicular to the contours."""
        if grid.slices is not None:
            return 2
        total = np.where(grid.orientation[:, 0] == 2, -1e-6, 0.0)  # axial, if contours are single points
        for contour in (contour for each in self.contours.values() for contour in each):
            total += np.ptp(_places(contour.points_mm, grid), axis=0)
        return int(np.argmin(total))

    def _filled(self, structure: str, grid: SourceGrid, axis: int, name: str) -> Bool[np.ndarray, "i j k"]:
        """Return the mask of a structure, in the axes of the scan's file.

        Raises:
            GridError: If contours lie between or beyond the scan's slices.
        """
        slices = grid.slices
        offsets = _offsets(grid, axis)
        lines: dict[int, list[Float[np.ndarray, "n 2"]]] = defaultdict(list)
        exclusive: set[int] = set()
        apart: list[float] = []
        for contour in self.contours[structure]:
            places = _places(contour.points_mm, grid)
            number = int(np.abs(offsets[:, axis] - np.median(places[:, axis])).argmin())
            moved = places - offsets[number]
            if (farthest := float(np.abs(moved[:, axis]).max())) > GRID_TOLERANCE_VOXELS:
                apart.append(farthest)
                continue
            lines[number].append(np.ascontiguousarray(np.delete(moved, axis, axis=1)))
            exclusive |= {number} if contour.exclusive else set()
        if apart:
            raise GridError(self._off(structure, apart, float(np.linalg.norm(grid.affine[:3, axis])), name))
        shape = grid.shape if slices is None else (*slices.shape, len(slices.images))
        out = np.zeros(shape, bool)
        layers = np.moveaxis(out, axis, 0)
        for number, of_slice in lines.items():
            columns, rows = layers.shape[1:]
            layers[number] = filled(of_slice, (columns, rows), number in exclusive)
        return out if slices is None else slices.from_slices(out, grid.shape)

    def _off(self, structure: str, apart: list[float], gap_mm: float, name: str) -> str:
        return (
            f"{self.path}: expected contours on the slices of {name}, got {len(apart)} of "
            f"{len(self.contours[structure])} of {structure} up to {max(apart) * gap_mm:.3g} mm away from the nearest; "
            "use the scan that they were drawn on"
        )


def _places(points_mm: Float[np.ndarray, "n 3"], grid: SourceGrid) -> Float[np.ndarray, "n 3"]:
    """Return points in voxels, along the axes of the scan's file."""
    turn = np.linalg.inv(grid.affine)
    return np.asarray(points_mm @ turn[:3, :3].T + turn[:3, 3])


def _offsets(grid: SourceGrid, axis: int) -> Float[np.ndarray, "n 3"]:
    """Return the position of the first pixel of each slice in voxels."""
    if grid.slices is not None:
        return grid.slices.offsets_voxels
    offsets = np.zeros((grid.shape[axis], 3))
    offsets[:, axis] = np.arange(grid.shape[axis])
    return offsets


def read_structure_set(path: Path) -> StructureSet:
    """Read the contours of a file.

    Raises:
        InputError: If it is damaged, or has neither a closed contour nor an automatically generated structure.
        LabelError: If a name occurs twice, or cannot be used.
    """
    name = str(path)
    with quietly(name), path.open("rb") as stream:
        dataset = read_dataset(stream, path.stat().st_size, pixels=False, tags=_TAGS)
        found = _named(dataset, _by_number(dataset, name), name)
    if not found.contours:
        raise InputError(f"{name}: expected structures with closed contours, got none; export it again")
    check_told_apart(found.contours, name)
    return found


def _by_number(dataset: Dataset, name: str) -> dict[int, tuple[_Contour, ...]]:
    """Return the closed contours by the numbers of their structures."""
    contours: dict[int, tuple[_Contour, ...]] = {}
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.ReferencedROINumber)
        contours[number] = (*contours.get(number, ()), *_closed(item, name))
    return contours


def _named(dataset: Dataset, contours: dict[int, tuple[_Contour, ...]], name: str) -> StructureSet:
    """Return the structures that have a contour, or were generated automatically, by their names.

    Raises:
        LabelError: If a name occurs twice, or cannot be used.
    """
    named: dict[str, tuple[_Contour, ...]] = {}
    passed_over: list[str] = []
    for roi in dataset.get("StructureSetROISequence") or []:
        own = contours.get(int(roi.ROINumber), ())
        if not own and str(roi.get("ROIGenerationAlgorithm") or "").upper() != "AUTOMATIC":
            passed_over.append(str(roi.get("ROIName") or ""))
            continue
        structure = usable_name(str(roi.get("ROIName") or ""), name)
        if structure in named:
            raise LabelError(f"{name}: expected each structure's name once, got {structure} twice; rename one")
        named[structure] = own
    return StructureSet(name, named, tuple(passed_over))


def _closed(item: Dataset, name: str) -> list[_Contour]:
    """Return the closed contours of a structure."""
    found = []
    for contour in item.get("ContourSequence") or []:
        kind = str(contour.get("ContourGeometricType") or "").upper()
        if kind in {_CLOSED, _EXCLUSIVE}:
            found.append(_Contour(_points(contour, name), kind == _EXCLUSIVE))
    return found


def _points(contour: Dataset, name: str) -> Float[np.ndarray, "n 3"]:
    """Parse the points of a contour from its text, since pydicom would make an object of each of millions of numbers.

    Raises:
        InputError: If they are not points in mm, or are implausibly far away.
    """
    element: Any = contour.get_item("ContourData")
    value = b"" if element is None else element.value
    text = value.decode("ascii") if isinstance(value, bytes) else "\\".join(map(str, value or []))
    numbers = np.array(text.strip("\0 ").split("\\"), np.float64)
    if numbers.size % 3 or not (np.abs(numbers) < LARGEST_MM).all():  # NaN is not below it either
        raise InputError(f"{name}: expected contours of points in mm, got other numbers; export it again")
    return numbers.reshape(-1, 3) * (-1.0, -1.0, 1.0)
