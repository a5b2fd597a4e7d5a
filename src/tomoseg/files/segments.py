"""Files that hold several structures each under its own name, read as masks: the one thing that readers of them give.

A file may hold less than the scan's whole grid: programs leave out slices without a voxel, or everything around. Such
a box of the scan's own voxels is put back in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from tomoseg.volume import GRID_TOLERANCE_VOXELS, SourceGrid, check_same_grid, same_grid

MOST_VOXELS = 8192
"""Along an axis of a grid that is made to hold what lies apart."""

Mask = Bool[np.ndarray, "x y z"]


@dataclass(frozen=True)
class Segments:
    """The segments of one file.

    Attributes:
        path: What to call the file in messages.
        names: The structures, each once.
        grid: Where the masks lie.
        mask: Gives the mask of a structure, in RAS+ order.
    """

    path: str
    names: tuple[str, ...]
    grid: SourceGrid
    mask: Callable[[str], Mask]

    def on(self, grid: SourceGrid, name: str = "the scan") -> Segments:
        """The same on a grid of which theirs is all or a box.

        Args:
            grid: The other grid.
            name: What to call its owner in messages.

        Raises:
            GridError: If their voxels are not voxels of that grid.
        """
        if same_grid(self.grid, grid):
            return replace(self, grid=grid)
        start = _start_in(grid, self.grid)
        if start is None:
            check_same_grid(grid, self.grid, name, self.path)  # says what differs
            start = (0, 0, 0)
        box = tuple(slice(a, a + n) for a, n in zip(start, self.grid.canonical_shape, strict=True))

        def mask(structure: str) -> Mask:
            whole = np.zeros(grid.canonical_shape, bool)
            whole[box] = self.mask(structure)
            return whole

        return replace(self, grid=grid, mask=mask)


def _start_in(grid: SourceGrid, box: SourceGrid) -> tuple[int, int, int] | None:
    """Where in a grid the first voxel of a box of it lies; None if it is no box of it."""
    start = _apart(grid, box)
    if start is None:
        return None
    fits = all(0 <= a <= m - n for a, n, m in zip(start, box.canonical_shape, grid.canonical_shape, strict=True))
    return start if fits else None


def _apart(grid: SourceGrid, other: SourceGrid) -> tuple[int, int, int] | None:
    """How many voxels the first voxels of two grids are apart; None where they are not of one lattice."""
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
    """Where the eight voxels at the corners of a grid lie, RAS+."""
    return np.asarray((_corner_voxels(grid) @ grid.canonical_affine.T)[:, :3])


def _corner_voxels(grid: SourceGrid) -> Float[np.ndarray, "8 4"]:
    return np.array([(*corner, 1.0) for corner in product(*((0, n - 1) for n in grid.canonical_shape))])


def grown(grid: SourceGrid, points_mm: Float[np.ndarray, "n 3"]) -> SourceGrid:
    """A grid with as many more of its voxels on each side as are needed to hold some points.

    It is the grid itself if it holds them, or if they lie farther away than any scan goes.

    Args:
        grid: The grid.
        points_mm: RAS+.
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
