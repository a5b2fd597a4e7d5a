"""The slices that a volume was assembled from, and resampling of masks to them and back.

A stack of slices with a tilted gantry, or with uneven gaps, is resampled to a regular grid with the slices' own
in-plane axes and pixels; only shifts within the plane and interpolation along the normal are needed. The position of a
slice on the grid is therefore one offset in voxels, and a mask is resampled to the slices by nearest neighbour.
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
    """The file that one slice was read from. Its path may name a patient, so it must never be logged.

    Attributes:
        path: The file, or the archive that it lies in.
        member: Name in the archive, if it lies in one.
        frame: Number of the frame, from 0, in a multi-frame file; None in a file of one image.
        sop_class_uid: SOP Class UID in the file; may be empty.
        sop_instance_uid: SOP Instance UID in the file; may be empty.
        position_mm: Position of the first pixel in the file, in RAS+ mm; None if it states none.
        digest: SHA-256 of the file if UIDs have to be generated from it; otherwise empty.
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
    """The slices of a volume, in the order of their positions along the normal.

    Attributes:
        shape: Columns and rows of every slice.
        offsets_voxels: `(n, 3)`, position of the first pixel of each slice on the grid, in the file's axes.
        images: The file of each slice, in the same order.
        series: Descriptions of all series found in the folder or archive.
        number: Number of this series among them, from 1.
        header: Patient and study from the first file; only `files.dicom` interprets it, and it must never be shown.
        not_to_be_told: Reason why other files cannot refer to the slices; empty if they can.
    """

    shape: tuple[int, int]
    offsets_voxels: Float[np.ndarray, "n 3"]
    images: tuple[SourceImage, ...]
    series: tuple[str, ...] = ()
    number: int = 1
    header: Any = field(default=None, repr=False, compare=False)
    not_to_be_told: str = ""

    def refusal(self, name: str) -> str:
        """Return the error message for slices that no DICOM result can refer to.

        Args:
            name: Name of the scan in the message.
        """
        return (
            f"{name}: expected slices that a DICOM result can refer to, but {self.not_to_be_told}; export the series "
            "again, or write another format, such as nifti"
        )

    @property
    def are_planes(self) -> bool:
        """Whether slice k is plane k of the grid for every k, so that nothing was resampled."""
        planes = np.zeros_like(self.offsets_voxels)
        planes[:, 2] = np.arange(len(planes))
        return np.array_equal(planes, self.offsets_voxels)

    def affine_of(self, number: int, grid_affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Return the `(4, 4)` affine that maps column, row and 0 of one slice to RAS+ mm.

        Args:
            number: Number of the slice, from 0.
            grid_affine: `(4, 4)`, maps voxel indices of the grid, in the file's axes, to RAS+ mm.
        """
        shift = np.eye(4)
        shift[:3, 3] = self.offsets_voxels[number]
        return grid_affine @ shift

    def to_slices(self, array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "c r n"]:
        """Resample a mask or a label map from the grid to the slices (nearest neighbour).

        Args:
            array: `(i, j, k)`, on the grid, in the file's axes (see `SourceGrid.from_canonical`).

        Returns:
            `(columns, rows, slices)`; the array itself if nothing was resampled.

        Raises:
            GridError: If the array does not fit this grid.
        """
        columns, rows = self.shape
        if self.are_planes:
            if array.shape != (columns, rows, len(self.images)):
                raise GridError(
                    f"expected an array of {(columns, rows, len(self.images))} in the file's axes, got {array.shape}; "
                    "pass a result of this scan"
                )
            return array
        on_slices = np.zeros((len(self.images), rows, columns), array.dtype)
        for number, offset in enumerate(self.offsets_voxels):
            i, j, k = (int(place) for place in np.floor(offset + 0.5))
            inside = array[i : i + columns, j : j + rows, k] if min(i, j, k) >= 0 and k < array.shape[2] else array[:0]
            if inside.shape != (columns, rows):
                raise GridError(
                    f"expected a grid that holds slice {number + 1} of {columns} x {rows} pixels, got {array.shape}; "
                    "pass a result of this scan"
                )
            on_slices[number] = inside.T
        return on_slices.T

    def from_slices(
        self, array: Shaped[np.ndarray, "c r n"], shape: tuple[int, int, int]
    ) -> Shaped[np.ndarray, "i j k"]:
        """Resample a mask or a label map from the slices to the grid: each plane takes the nearest slice.

        Args:
            array: `(columns, rows, slices)`.
            shape: Shape of the grid, in the file's axes.

        Returns:
            `(i, j, k)`, on the grid, in the file's axes; the array itself if nothing was resampled.
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
