"""A CT volume in memory, and the grid of the file that it came from.

Axes: arrays are `(x, y, z)` in canonical RAS+ order: index up means right, anterior, superior, and an
axial slice is `[:, :, k]`. Affines map voxel indices to RAS+ millimetres. HU are int16.

A file may store its axes in any of 48 orientations. `SourceGrid` remembers which, so that a result goes
back out on the file's own grid with the affine unchanged to the last bit: reorientation only permutes and
flips, nothing is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int16, Shaped

from tomoseg.errors import GridError
from tomoseg.language.words import part
from tomoseg.notices import Notice
from tomoseg.slices import SourceSlices
from tomoseg.views import AXES, axes_back, ordered

GRID_TOLERANCE_VOXELS = 0.1
"""Maximum distance of two grids at the farthest corner at which they still count as the same, as a share of the
shortest voxel edge. Tools write affines in float32 or round them in text, which moves a far corner by hundredths of a
voxel; a real shift is a voxel."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes that still counts as perpendicular (0.06 degrees)."""


@dataclass(frozen=True)
class SourceGrid:
    """The voxel grid of a file, in the file's own axis order.

    Attributes:
        shape: Number of voxels along the file's three axes.
        affine: `(4, 4)` float64, maps voxel indices of the file to RAS+ mm, exactly as in the file.
        header: The file's geometry header, which only the module that read it interprets.
        slices: The slices that the volume was assembled from, if the scan was a stack of slices.
    """

    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    header: bytes | None = None
    slices: SourceSlices | None = None

    @property
    def orientation(self) -> Float[np.ndarray, "3 2"]:
        """For each axis of the file, the nearest canonical axis (0 to 2) and the direction along it (+1 or -1)."""
        return _nearest_axes(self.affine)

    @property
    def canonical_affine(self) -> Float[np.ndarray, "4 4"]:
        """The affine of the same voxels in RAS+ order."""
        file_index = np.zeros((4, 4))  # from a RAS+ index
        file_index[3, 3] = 1.0
        for axis, (target, direction) in enumerate(self.orientation):
            file_index[axis, int(target)] = direction
            file_index[axis, 3] = self.shape[axis] - 1 if direction < 0 else 0
        return self.affine @ file_index

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """The shape of the same voxels in RAS+ order."""
        shape = [0, 0, 0]
        for axis, (target, _) in enumerate(self.orientation):
            shape[int(target)] = self.shape[axis]
        return (shape[0], shape[1], shape[2])

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along x, y and z in mm."""
        return spacing_of(self.canonical_affine)

    def to_canonical(self, array: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "x y z"]:
        """Reorder an array from the file's axes to RAS+ order; returns a NumPy view, without a copy."""
        orientation = self.orientation
        for axis, (_, direction) in enumerate(orientation):
            if direction < 0:
                array = np.flip(array, axis)
        return array.transpose(np.argsort(orientation[:, 0]))

    def from_canonical(self, array: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "i j k"]:
        """Reorder an array from RAS+ order to the file's axes; returns a NumPy view, without a copy.

        Raises:
            GridError: If the shape of the array is not `canonical_shape`.
        """
        if array.shape != self.canonical_shape:
            raise GridError(
                f"expected an array on the scan's grid {self.canonical_shape} in RAS+ order, "
                f"got {array.shape}; pass a result of this scan"
            )
        for target, direction in self.orientation:
            if direction < 0:
                array = np.flip(array, int(target))
        return array.transpose([int(target) for target, _ in self.orientation])

    def to_slices(self, array: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "c r n"]:
        """Resample a mask or a label map to the slices that the scan was assembled from (nearest neighbour).

        Args:
            array: Mask or label map in RAS+ order, on the scan's grid.

        Returns:
            `(columns, rows, slices)`, with slices in the order of `slices.images`.

        Raises:
            GridError: If the array does not have the shape of this grid, or the scan was not a stack of slices.
        """
        if self.slices is None:
            raise GridError("expected a scan that was read from slices, got one that was not; write it on its own grid")
        return self.slices.to_slices(self.from_canonical(array))


@dataclass(frozen=True)
class Volume:
    """One CT scan in RAS+ order.

    Attributes:
        hu: `(x, y, z)` int16 Hounsfield units.
        source: The grid of the file that it was read from.
        warnings: Notices from reading the file.

    Example:
        >>> volume = Volume.from_array(np.zeros((4, 4, 2), np.int16), np.diag([0.8, 0.8, 5.0, 1.0]))
        >>> volume.shape, volume.spacing_mm
        ((4, 4, 2), (0.8, 0.8, 5.0))
    """

    hu: Int16[np.ndarray, "x y z"]
    source: SourceGrid
    warnings: tuple[Notice, ...] = field(default=())

    @classmethod
    def from_array(cls, hu: Int16[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> Volume:
        """Make a volume from an array; its axes need not be in RAS+ order.

        Args:
            hu: Hounsfield units, with axes in the order that `affine` describes.
            affine: `(4, 4)`, maps voxel indices of `hu` to RAS+ mm.

        Raises:
            GridError: If the affine is not finite, is singular, or is sheared.
        """
        check_affine(affine, "the affine")
        source = SourceGrid((hu.shape[0], hu.shape[1], hu.shape[2]), np.asarray(affine, np.float64))
        return cls(source.to_canonical(hu), source)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        return self.source.canonical_shape

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """`(4, 4)` float64, maps voxel indices of `hu` to RAS+ mm."""
        return self.source.canonical_affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along x, y and z in mm."""
        return spacing_of(self.affine)

    def seen(self, view: str) -> Volume:
        """The scan with its axes in the order of a view, whose slices are then those along the last axis.

        The grid of the result has the spacing in that order, but no longer says which side is the patient's left.

        Args:
            view: `axial`, `coronal` or `sagittal`; `axial` returns the scan itself.
        """
        if view == "axial":
            return self
        grid = SourceGrid(ordered(self.shape, view), np.diag([*ordered(self.spacing_mm, view), 1.0]))
        return Volume(seen(self.hu, view), grid, self.warnings)


def seen(array: Shaped[np.ndarray, "*some x y z"], view: str) -> Shaped[np.ndarray, "*some a b n"]:
    """Reorder the last three axes of an array to the order of a view; returns a NumPy view, without a copy.

    Example:
        >>> seen(np.zeros((2, 4, 5, 6)), "sagittal").shape
        (2, 5, 6, 4)
    """
    return _transposed(array, AXES[view])


def as_axial(array: Shaped[np.ndarray, "*some a b n"], view: str) -> Shaped[np.ndarray, "*some x y z"]:
    """Undo `seen`: reorder the last three axes from the order of a view to x, y, z."""
    return _transposed(array, axes_back(view))


def _transposed(array: np.ndarray, axes: tuple[int, int, int]) -> np.ndarray:
    ahead = array.ndim - 3
    return array.transpose(*range(ahead), *(ahead + axis for axis in axes))


def spacing_of(affine: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """Voxel spacing in mm: the lengths of the affine's first three columns."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return (float(x), float(y), float(z))


def _nearest_axes(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 2"]:
    """Assign to each column of an affine the nearest axis of space, each once, and the direction along it.

    The columns closest to an axis choose first, after the rotation nearest to the affine. NiBabel's `io_orientation`
    finds the same; it is not used because importing NiBabel takes 0.2 s, most of it for pydicom, which it always loads.
    """
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing_of(affine))
    rotation = left @ right
    free = np.abs(rotation)
    orientation = np.zeros((3, 2))
    for axis in np.argsort(-(rotation**2).max(axis=0)):
        target = int(free[:, axis].argmax())
        orientation[axis] = (target, -1 if rotation[target, axis] < 0 else 1)
        free[target] = -1
    return orientation


def check_affine(affine: Float[np.ndarray, "4 4"], name: str) -> None:
    """Refuse an affine that does not describe a regular grid.

    Args:
        affine: `(4, 4)`, maps voxel indices to mm.
        name: Name to use in the message, usually that of the file.

    Raises:
        GridError: If it is not finite, has a spacing of zero, is singular, or is sheared.
    """
    if not np.isfinite(affine).all():
        raise GridError(f"{name}: expected a finite affine, got {affine[:3].tolist()}; repair the header")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing <= 0).any():
        raise GridError(f"{name}: expected a positive spacing, got {spacing.tolist()} mm; repair the header")
    directions = affine[:3, :3] / spacing
    cosines = np.abs(directions.T @ directions - np.eye(3)).max()
    if cosines > SHEAR_TOLERANCE:
        raise GridError(
            f"{name}: expected perpendicular axes, got a sheared affine (cosine {cosines:.3f} between two axes); "
            "resample the scan onto a regular grid first"
        )


def same_grid(one: SourceGrid, other: SourceGrid) -> bool:
    """Whether two files cover the same voxels in space, whatever their axis order (see `GRID_TOLERANCE_VOXELS`)."""
    if one.canonical_shape != other.canonical_shape:
        return False
    return bool(_farthest_mm(one, other.canonical_affine) <= _tolerance_mm(one, other))


def check_same_grid(one: SourceGrid, other: SourceGrid, one_name: str, other_name: str) -> None:
    """Refuse two files that should share a grid and do not.

    Args:
        one: The expected grid, usually that of the scan.
        other: The grid to compare with it.
        one_name: Name of the file of `one` in the message.
        other_name: Name of the file of `other` in the message.

    Raises:
        GridError: If the grids differ; the message says in what, by how much, and the likely reason.
    """
    if not same_grid(one, other):
        raise GridError(
            f"{other_name}: expected the grid of {one_name}, got {'; '.join(_differences(one, other))}: "
            f"{_likely_reason(one, other)}"
        )


def _tolerance_mm(one: SourceGrid, other: SourceGrid) -> float:
    return GRID_TOLERANCE_VOXELS * min(*one.spacing_mm, *other.spacing_mm)


def _farthest_mm(grid: SourceGrid, other_affine: Float[np.ndarray, "4 4"]) -> float:
    """Return the largest distance between the same corner voxel on two grids, in mm."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    corners[:, :3] *= np.array(grid.canonical_shape) - 1
    return float(np.linalg.norm(corners @ (grid.canonical_affine - other_affine).T, axis=1).max())


def _differences(one: SourceGrid, other: SourceGrid) -> list[str]:
    """Describe how the other grid differs from the first, with both numbers."""
    found = []
    if one.canonical_shape != other.canonical_shape:
        shapes = (" x ".join(map(str, grid.canonical_shape)) for grid in (other, one))
        found.append(part("{} voxels, not {}").format(*shapes))
    most = _tolerance_mm(one, other)
    steps = np.maximum(np.minimum(one.canonical_shape, other.canonical_shape) - 1, 1)
    stretch_mm = np.abs(np.subtract(one.spacing_mm, other.spacing_mm)) * steps
    for axis in np.flatnonzero(stretch_mm > most).tolist():
        found.append(
            f"voxel size along {'xyz'[axis]} of {other.spacing_mm[axis]:.5g} mm, not {one.spacing_mm[axis]:.5g}"
        )
    apart = one.canonical_affine[:3, :3] / one.spacing_mm - other.canonical_affine[:3, :3] / other.spacing_mm
    turned = 2 * np.arcsin(np.clip(np.linalg.norm(apart, axis=0).max() / 2, 0, 1))
    if turned * np.multiply(one.canonical_shape, one.spacing_mm).max() > most:
        found.append(f"axes turned by {np.degrees(turned):.3g} degrees")
    shift = np.round(other.canonical_affine[:3, 3] - one.canonical_affine[:3, 3], 6)
    if np.linalg.norm(shift) > most or not found:
        moved = [part(f"{mm:+.3g} mm along {name}") for mm, name in zip(shift.tolist(), "xyz", strict=True) if mm]
        found.append(f"its first voxel moved by {' and '.join(moved)}")
    return found


def _likely_reason(one: SourceGrid, other: SourceGrid) -> str:
    """Return the likely reason of the difference, and what to do."""
    same_shape = one.canonical_shape == other.canonical_shape
    for signs, axes in (((-1, 1, 1), "x"), ((1, -1, 1), "y"), ((-1, -1, 1), "x and y")):
        if same_shape and _farthest_mm(one, _mirrored(other, signs)) <= _tolerance_mm(one, other):
            return (
                f"as if the signs of {axes} were flipped (LPS instead of RAS); export it again with the scan's geometry"
            )
    mine, theirs = np.array(_box_mm(one)), np.array(_box_mm(other))
    edges = np.maximum(one.spacing_mm, other.spacing_mm)
    out_of_mine = max(*(mine[0] - theirs[0]), *(theirs[1] - mine[1]))
    out_of_theirs = max(*(theirs[0] - mine[0]), *(mine[1] - theirs[1]))
    is_cut = min(out_of_mine, out_of_theirs) <= edges.min() / 2
    if is_cut and not same_shape and np.allclose(one.spacing_mm, other.spacing_mm, rtol=1e-3):
        return "one is a crop of the other; pad or crop it to the scan's grid"
    if (np.abs(mine - theirs) <= edges).all():
        return (
            "it covers the same region with other voxels, so it was resampled; resample it back with nearest neighbour"
        )
    return "it probably belongs to another scan or patient; check that both belong together"


def _mirrored(grid: SourceGrid, signs: tuple[int, int, int]) -> Float[np.ndarray, "4 4"]:
    """Return the affine of the same voxels, in RAS+ order, after the signs of coordinates are changed."""
    affine = np.diag([*signs, 1.0]) @ grid.affine
    return SourceGrid(grid.shape, affine).canonical_affine


def _box_mm(grid: SourceGrid) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Return the lowest and the highest coordinates in mm of a grid along x, y and z, at the edges of its voxels."""
    ends = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * grid.canonical_shape - 0.5
    corners = ends @ grid.canonical_affine[:3, :3].T + grid.canonical_affine[:3, 3]
    return corners.min(axis=0), corners.max(axis=0)
