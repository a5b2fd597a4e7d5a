"""The grid that a model is given a scan on: the model's own, or voxels like those of its training scans.

A model of `native` voxels has seen no others. A scan whose voxels lie outside of what it was trained on is brought to
voxels inside of that, as `spacing` grids bring every scan to theirs, and its masks come back on the scan's own voxels.
"""

from __future__ import annotations

import math

from tomoseg.checks.in_distribution import Range
from tomoseg.config import GridConfig
from tomoseg.models.folder import ModelRecord
from tomoseg.notices import Notice

MARGIN = 1.1
"""How far beyond the training scans voxels are still taken for like theirs."""


def grid_for(record: ModelRecord, spacing_mm: tuple[float, float, float]) -> GridConfig:
    """The grid for a scan of some voxels; the model's own where these are like its training scans', or not known.

    Along an axis that is outside, voxels take the middle between the least and the largest of training: at the least
    itself, the edge of what a network knows, the packaged model loses a sixth of its Dice.

    Args:
        record: What the model is.
        spacing_mm: The scan's voxel edges.
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
    """A note if a scan of some voxels is brought to others.

    Args:
        record: What the model is.
        spacing_mm: The scan's voxel edges.
    """
    grid = grid_for(record, spacing_mm)
    if grid is record.grid or record.trained_on is None:
        return ()
    own = " x ".join(f"{edge:.4g}" for edge in spacing_mm)
    trained = " x ".join(f"{low:.4g} to {high:.4g}" for low, high in record.trained_on.spacing_mm)
    return (
        Notice(
            f"Voxels measure {own} mm; the model was trained on {trained} mm. It is given the scan on voxels of "
            f"{grid.spacing_mm:.4g} x {grid.spacing_mm:.4g} x {grid.slice_spacing_mm:.4g} mm, and the masks lie on the "
            "scan's own.",
            "other voxels",
        ),
    )


def averaged_axes(record: ModelRecord, spacing_mm: tuple[float, float, float]) -> tuple[bool, bool, bool]:
    """Along which axes it does not matter that a scan's voxels are finer than those of training, or others.

    There the network sees averages over them, as it did in training.

    Args:
        record: What the model is.
        spacing_mm: The scan's voxel edges.
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
