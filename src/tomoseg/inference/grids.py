"""Choice of the network's grid for a scan: the model's own, or voxels like those of its training scans.

A model trained on `native` voxels has seen no others. A scan with voxels outside the range of training is resampled
into it, as `spacing` grids resample every scan, and its masks are returned on the scan's own voxels.
"""

from __future__ import annotations

import math

from tomoseg.checks.in_distribution import Range
from tomoseg.config import GridConfig
from tomoseg.models.folder import ModelRecord
from tomoseg.notices import Notice

MARGIN = 1.1
"""Factor beyond the range of the training scans within which voxels still count as similar."""


def grid_for(record: ModelRecord, spacing_mm: tuple[float, float, float]) -> GridConfig:
    """Return the grid for a scan; the model's own if its voxels resemble the training scans', or these are not known.

    Along an axis out of range, the spacing is the middle of the range: at its lower end, the edge of the training
    data, the packaged model loses a sixth of its Dice.

    Args:
        record: The model's description.
        spacing_mm: The scan's voxel spacing.
    """
    if record.grid.mode != "native" or record.trained_on is None:
        return record.grid
    ranges = record.trained_on.spacing_mm
    if all(_is_like(edge, between) for edge, between in zip(spacing_mm, ranges, strict=True)):
        return record.grid
    in_plane = math.sqrt(spacing_mm[0] * spacing_mm[1])
    edges = {"spacing_mm": _within(in_plane, ranges[0]), "slice_spacing_mm": _within(spacing_mm[2], ranges[2])}
    return record.grid.model_copy(update={"mode": "spacing", **edges})


def resampling_notices(record: ModelRecord, spacing_mm: tuple[float, float, float]) -> tuple[Notice, ...]:
    """Return a notice if the scan is resampled because its voxels are out of range.

    Args:
        record: The model's description.
        spacing_mm: The scan's voxel spacing.
    """
    grid = grid_for(record, spacing_mm)
    if grid is record.grid or record.trained_on is None:
        return ()
    own = " x ".join(f"{edge:.4g}" for edge in spacing_mm)
    trained = " x ".join(f"{low:.4g} to {high:.4g}" for low, high in record.trained_on.spacing_mm)
    return (
        Notice(
            f"Voxels measure {own} mm; the model was trained on {trained} mm. The scan is resampled to "
            f"{grid.spacing_mm:.4g} x {grid.spacing_mm:.4g} x {grid.slice_spacing_mm:.4g} mm for it, and the "
            "masks are on the scan's own grid.",
            "other voxels",
        ),
    )


def averaged_axes(record: ModelRecord, spacing_mm: tuple[float, float, float]) -> tuple[bool, bool, bool]:
    """Return the axes along which it does not matter that a scan's voxels differ from the training scans'.

    Along these the network sees averages over them, as in training.

    Args:
        record: The model's description.
        spacing_mm: The scan's voxel spacing.
    """
    grid = grid_for(record, spacing_mm)
    if grid is not record.grid:
        return (True, True, True)
    if grid.mode != "spacing":
        return (False, False, False)
    x, y, z = spacing_mm
    return (x <= grid.spacing_mm, y <= grid.spacing_mm, z <= (grid.slice_spacing_mm or 0.0))


def _is_like(edge: float, between: Range) -> bool:
    return between[0] / MARGIN <= edge <= between[1] * MARGIN


def _within(edge: float, between: Range) -> float:
    return edge if _is_like(edge, between) else (between[0] + between[1]) / 2
