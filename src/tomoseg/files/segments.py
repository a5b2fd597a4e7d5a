"""Files that hold several structures each under its own name, read as masks: the one thing that readers of them give.

A file may hold less than the scan's whole grid: programs leave out slices without a voxel, or everything around. Such
a box of the scan's own voxels is put back in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Bool

from tomoseg.volume import GRID_TOLERANCE_VOXELS, SourceGrid, check_same_grid, same_grid

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
    step = np.linalg.inv(grid.canonical_affine) @ box.canonical_affine
    x, y, z = (int(place) for place in np.rint(step[:3, 3]))
    exact = np.eye(4)
    exact[:3, 3] = x, y, z
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in box.canonical_shape))])
    if np.abs(corners @ (step - exact).T).max() > GRID_TOLERANCE_VOXELS:
        return None
    fits = all(0 <= a <= m - n for a, n, m in zip((x, y, z), box.canonical_shape, grid.canonical_shape, strict=True))
    return (x, y, z) if fits else None
