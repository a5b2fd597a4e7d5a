"""Measurements of each structure of a result: volume, HU, position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomoseg.masks import BoxedMask
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks
from tomoseg.volume import Volume

NOT_FOUND = "no voxel found: absent, outside the field of view, or missed"


@dataclass(frozen=True)
class Measurement:
    """The measurements of one structure. What cannot be measured is None, never 0, and `reason` says why.

    Attributes:
        structure: Name of the structure.
        volume_ml: Volume of the part inside the scan, in ml.
        mean_hu: Mean HU of its voxels.
        median_hu: Median HU of its voxels.
        std_hu: Sample standard deviation of the HU of its voxels; None for a single voxel.
        centroid_mm: Mean position of its voxels in RAS+ mm.
        touches_border: Whether it reaches the border of the scan, so that a part of it may lie outside.
        reason: Reason why a value is None; None if there is none.
    """

    structure: str
    volume_ml: float | None
    mean_hu: float | None
    median_hu: float | None
    std_hu: float | None
    centroid_mm: tuple[float, float, float] | None
    touches_border: bool | None
    reason: str | None


def measure(result: Segmentation | LabelMap, volume: Volume) -> list[Measurement]:
    """Measure every structure of a result.

    Args:
        result: Masks or a label map of this scan.
        volume: The scan.

    Returns:
        One entry per structure, in channel order.
    """
    return [measure_mask(n, mask, volume) for n, mask in zip(result.labels.names, boxed_masks(result), strict=True)]


def measure_mask(name: str, mask: BoxedMask, volume: Volume) -> Measurement:
    """Measure one structure.

    Args:
        name: Name of the structure.
        mask: Its mask on the scan's grid, in RAS+ order.
        volume: The scan.
    """
    if not mask.voxels:
        return Measurement(name, None, None, None, None, None, None, NOT_FOUND)
    hu = volume.hu[mask.box][mask.inside].astype(np.float64)
    border = any(side.start == 0 or side.stop == n for side, n in zip(mask.box, volume.shape, strict=True))
    middle = [float(np.mean(place)) + s for place, s in zip(np.nonzero(mask.inside), mask.start, strict=True)]
    x, y, z = (volume.affine @ [*middle, 1.0])[:3].tolist()
    return Measurement(
        name,
        hu.size * float(np.prod(volume.spacing_mm)) / 1000,
        float(hu.mean()),
        float(np.median(hu)),
        float(hu.std(ddof=1)) if hu.size > 1 else None,
        (x, y, z),
        border,
        None if hu.size > 1 else "one voxel has no standard deviation",
    )
