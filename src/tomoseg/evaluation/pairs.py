"""Input of the metrics: the voxel counts of a structure's two masks, and the masks themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from tomoseg.evaluation.surface import SurfaceDistances, surface_distances
from tomoseg.masks import BoxedMask


@dataclass(frozen=True)
class VoxelCounts:
    """Voxel counts of the prediction and the reference of one structure.

    Attributes:
        predicted: Voxels of the prediction.
        reference: Voxels of the reference.
        both: Voxels that they share.
        voxel_ml: Volume of one voxel in ml.
    """

    predicted: int
    reference: int
    both: int
    voxel_ml: float

    @property
    def predicted_ml(self) -> float:
        """Volume of the prediction in ml."""
        return self.predicted * self.voxel_ml

    @property
    def reference_ml(self) -> float:
        """Volume of the reference in ml."""
        return self.reference * self.voxel_ml


@dataclass
class MaskPair:
    """The prediction and the reference of one structure, neither of them empty.

    Attributes:
        predicted: The prediction.
        reference: The reference.
        spacing_mm: Voxel spacing along x, y and z in mm.
        tolerance_mm: Tolerance of this structure's surface Dice in mm.
    """

    predicted: BoxedMask
    reference: BoxedMask
    spacing_mm: tuple[float, float, float]
    tolerance_mm: float
    _surfaces: SurfaceDistances | None = field(default=None, init=False, repr=False)

    @property
    def surfaces(self) -> SurfaceDistances:
        """Distances between the two surfaces, computed once for all metrics."""
        if self._surfaces is None:  # not functools.cached_property, which before 3.12 locks out all other threads
            self._surfaces = surface_distances(self.predicted, self.reference, self.spacing_mm)
        return self._surfaces
