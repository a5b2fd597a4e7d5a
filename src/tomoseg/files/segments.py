"""Named masks from one file, the common result of all readers of files with several structures.

A file may cover less than the scan's whole grid, since programs crop empty slices or borders. Such a box of the scan's
own voxels is put back into its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from tomoseg.volume import GRID_TOLERANCE_VOXELS, SourceGrid, check_same_grid, same_grid

MOST_VOXELS = 8192
"""Maximum voxels along an axis of a grid that is extended."""

Mask = Bool[np.ndarray, "x y z"]


@dataclass(frozen=True)
class Segments:
    """The segments of one file.

    Attributes:
        path: Path of the file in messages.
        names: Names of the structures, each once.
        grid: Grid of the masks.
        mask: Returns the mask of a structure, `(x, y, z)` in RAS+ order.
    """

    path: str
    names: tuple[str, ...]
    grid: SourceGrid
    mask: Callable[[str], Mask]

    def on(self, grid: SourceGrid, name: str = "the scan") -> Segments:
        """Return the segments on a grid of which their own is the whole or a box.

        Args:
            grid: The other grid.
            name: Name of its owner in messages.

        Raises:
            GridError: If their voxels are not voxels of that grid.
        """
        if same_grid(self.grid, grid):
            return replace(self, grid=grid)
        start = _start_in(grid, self.grid)
        if start is None:
            check_same_grid(grid, self.grid, name, self.path)  # raises an error that states the difference
            start = (0, 0, 0)
        box = tuple(slice(a, a + n) for a, n in zip(start, self.grid.canonical_shape, strict=True))

        def mask(structure: str) -> Mask:
            whole = np.zeros(grid.canonical_shape, bool)
            whole[box] = self.mask(structure)
            return whole

        return replace(self, grid=grid, mask=mask)


def _start_in(grid: SourceGrid, box: SourceGrid) -> tuple[int, int, int] | None:
    """Return the first voxel of a box of a grid; None if it is not a box of that grid."""
    start = _apart(grid, box)
    if start is None:
        return None
    fits = all(0 <= a <= m - n for a, n, m in zip(start, box.canonical_shape, grid.canonical_shape, strict=True))
    return start if fits else None


def _apart(grid: SourceGrid, other: SourceGrid) -> tuple[int, int, int] | None:
    """Return the offset of the first voxels of two grids in voxels; None if they are not on one lattice."""
    step = np.linalg.inv(grid.canonical_affine) @ other.canonical_affine
    x, y, z = (int(place) for place in np.rint(step[:3, 3]))
    exact = np.eye(4)
    exact[:3, 3] = x, y, z
    if np.abs(_corner_voxels(other) @ (step - exact).T).max() > GRID_TOLERANCE_VOXELS:
        return None
    return (x, y, z)


def same_lattice(one: SourceGrid, other: SourceGrid) -> bool:
    """Whether the voxels of two grids are voxels of one larger grid."""
    return _apart(one, other) is not None


def voxel_corners_mm(grid: SourceGrid) -> Float[np.ndarray, "8 3"]:
    """Return the centres of the eight corner voxels of a grid, `(8, 3)` in RAS+ mm."""
    return np.asarray((_corner_voxels(grid) @ grid.canonical_affine.T)[:, :3])


def _corner_voxels(grid: SourceGrid) -> Float[np.ndarray, "8 4"]:
    return np.array([(*corner, 1.0) for corner in product(*((0, n - 1) for n in grid.canonical_shape))])


def grown(grid: SourceGrid, points_mm: Float[np.ndarray, "n 3"]) -> SourceGrid:
    """Extend a grid by as many voxels on each side as are needed to contain points.

    The grid itself is returned if it contains them, or if the result would exceed `MOST_VOXELS`.

    Args:
        grid: The grid.
        points_mm: `(n, 3)`, points in RAS+ mm.
    """
    if not len(points_mm):
        return grid
    turn = np.linalg.inv(grid.canonical_affine)
    places = np.rint(points_mm @ turn[:3, :3].T + turn[:3, 3]).astype(int)
    first = np.minimum(places.min(axis=0), 0)
    last = np.maximum(places.max(axis=0), np.array(grid.canonical_shape) - 1)
    x, y, z = (int(n) for n in last - first + 1)
    if (x, y, z) == grid.canonical_shape or max(x, y, z) > MOST_VOXELS:
        return grid
    affine = grid.canonical_affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    return SourceGrid((x, y, z), affine)
