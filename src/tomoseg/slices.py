"""The slices that a volume was made of, and the way of a mask back onto them.

A stack of slices with a tilted gantry, or with uneven gaps, is resampled onto a regular grid with the slices' own
in-plane axes and pixels; only shifts within the plane and interpolation along the normal are needed. So the place of a
slice on the grid is one offset in voxels, and a mask of the grid comes back onto the slices by looking up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from tomoseg.errors import GridError


@dataclass(frozen=True)
class SourceImage:
    """Where one slice was read from. It may name a patient: never to be logged.

    Attributes:
        path: The file, or the archive that it lies in.
        member: Its name in the archive, if it lies in one.
        frame: Its frame, counted from 0, in a file of several; None in a file of one image.
        sop_class_uid: As the file has it; may be empty.
        sop_instance_uid: As the file has it; may be empty.
        position_mm: Where the file says that its first pixel lies, RAS+; None where it does not say so.
        digest: SHA-256 of the file where identifiers have to be made from it; else empty.
    """

    path: Path = field(repr=False)
    member: str | None = field(default=None, repr=False)
    frame: int | None = None
    sop_class_uid: str = field(default="", repr=False)
    sop_instance_uid: str = field(default="", repr=False)
    position_mm: tuple[float, float, float] | None = None
    digest: str = field(default="", repr=False)


@dataclass(frozen=True)
class SourceSlices:
    """The slices of a volume, in the order of their place along the normal.

    Attributes:
        shape: Columns and rows of every slice.
        offsets_voxels: `(n, 3)`: where on the grid, in the file's axes, the first pixel of each slice lies.
        images: Where each was read from; as many, in the same order.
        series: All series of the place that they were found in, in words.
        number: Which of these they are, from 1.
        header: Patient and study, as the first of the files has them; opaque to everyone but `files.dicom`, and never
            to be shown.
        not_to_be_told: Why other files cannot refer to the slices; empty where they can.
    """

    shape: tuple[int, int]
    offsets_voxels: Float[np.ndarray, "n 3"]
    images: tuple[SourceImage, ...]
    series: tuple[str, ...] = ()
    number: int = 1
    header: Any = field(default=None, repr=False, compare=False)
    not_to_be_told: str = ""

    def refusal(self, name: str) -> str:
        """The sentence for slices that no DICOM result can refer to.

        Args:
            name: What to call the scan.
        """
        return (
            f"{name}: expected slices that a DICOM result can refer to, but {self.not_to_be_told}; export the series "
            "again, or write another format, such as nifti"
        )

    @property
    def are_planes(self) -> bool:
        """Whether slice k is plane k of the grid, so that nothing was resampled."""
        planes = np.zeros_like(self.offsets_voxels)
        planes[:, 2] = np.arange(len(planes))
        return np.array_equal(planes, self.offsets_voxels)

    def affine_of(self, number: int, grid_affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Column, row and 0 of one slice to RAS+ mm.

        Args:
            number: Which slice, from 0.
            grid_affine: The grid's file index to RAS+ mm.
        """
        shift = np.eye(4)
        shift[:3, 3] = self.offsets_voxels[number]
        return grid_affine @ shift

    def to_slices(self, array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "c r n"]:
        """Bring a mask or a label map of the grid onto the slices: each pixel takes the nearest voxel.

        Args:
            array: On the grid, in the file's axes (see `SourceGrid.from_canonical`).

        Returns:
            Column, row and slice; a view where nothing was resampled.

        Raises:
            GridError: If the array cannot be of this grid.
        """
        columns, rows = self.shape
        if self.are_planes:
            if array.shape != (columns, rows, len(self.images)):
                raise GridError(
                    f"expected an array of {(columns, rows, len(self.images))} in the file's axes, got {array.shape}; "
                    "pass a result of this very scan"
                )
            return array
        on_slices = np.zeros((len(self.images), rows, columns), array.dtype)
        for number, offset in enumerate(self.offsets_voxels):
            i, j, k = (int(place) for place in np.floor(offset + 0.5))
            inside = array[i : i + columns, j : j + rows, k] if min(i, j, k) >= 0 and k < array.shape[2] else array[:0]
            if inside.shape != (columns, rows):
                raise GridError(
                    f"expected a grid that holds slice {number + 1} of {columns} x {rows} pixels, got {array.shape}; "
                    "pass a result of this very scan"
                )
            on_slices[number] = inside.T
        return on_slices.T

    def from_slices(
        self, array: Shaped[np.ndarray, "c r n"], shape: tuple[int, int, int]
    ) -> Shaped[np.ndarray, "i j k"]:
        """Bring a mask or a label map of the slices onto the grid: each plane takes the nearest slice.

        Args:
            array: Column, row and slice.
            shape: The shape of the grid, in the file's axes.

        Returns:
            On the grid, in the file's axes; the array itself where nothing was resampled.
        """
        if self.are_planes:
            return array
        columns, rows = self.shape
        on_grid = np.zeros(shape[::-1], array.dtype)
        for k in range(shape[2]):
            number = int(np.abs(self.offsets_voxels[:, 2] - k).argmin())
            i, j, _ = (int(place) for place in np.floor(self.offsets_voxels[number] + 0.5))
            on_grid[k, j : j + rows, i : i + columns] = array[:, :, number].T
        return on_grid.T
