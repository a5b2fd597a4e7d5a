"""A scan on the network's grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.grid import Placement
from tomoseg.volume import SourceGrid


@dataclass(frozen=True)
class OnGrid:
    """A scan on the network's grid.

    Attributes:
        slabs: Slabs in HU, from inferior to superior; can be read once.
        placement: Position of the grid in the scan.
        source: The scan's own grid.
        view: View whose order its axes are in, as in a preprocessed case.
        positions_mm: Position of each slice, if it was determined on more of the scan than this.
    """

    slabs: Iterable[Int16[np.ndarray, "gx gy _"]]
    placement: Placement
    source: SourceGrid
    view: str = "axial"
    positions_mm: Float32[np.ndarray, "gz"] | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing of the grid."""
        place = zip(self.source.spacing_mm, self.placement.extent, self.placement.shape, strict=True)
        x, y, z = (edge * extent / voxels for edge, extent, voxels in place)
        return (x, y, z)

    def whole(self) -> Int16[np.ndarray, "gx gy gz"]:
        """Read all slabs into one array."""
        slabs = list(self.slabs)
        return slabs[0] if len(slabs) == 1 else np.concatenate(slabs, axis=2)

    def part(
        self, hu: Int16[np.ndarray, "gx gy gz"], part: slice, positions_mm: Float32[np.ndarray, "gz"] | None
    ) -> OnGrid:
        """Return some of the slices as a scan of its own.

        Args:
            hu: The result of `whole`.
            part: The slices.
            positions_mm: Position of each slice of the whole, if known.
        """
        cut, told = hu[:, :, part], None if positions_mm is None else positions_mm[part]
        shape = (cut.shape[0], cut.shape[1], cut.shape[2])
        source = SourceGrid(shape, np.diag([*self.spacing_mm, 1.0]))
        return OnGrid([cut], Placement((0, 0, 0), shape, shape), source, self.view, told)
