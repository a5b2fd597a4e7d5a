"""Filling of holes, opening and closing, with radii in mm.

Balls are exact on voxels of any shape: distances are Euclidean between voxel centres. Beyond the scan a mask is
continued as it ends, so that a liver cut by the field of view keeps its cut face.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from tomoseg.masks import BoxedMask

SLACK = 1e-6
"""Relative tolerance of distances for rounding."""


def fill_holes(mask: BoxedMask) -> BoxedMask:
    """Fill enclosed holes; a hole that is open at any face, or at the end of the scan, is not enclosed."""
    return BoxedMask(ndimage.binary_fill_holes(mask.inside), mask.start, mask.shape)


def opening(mask: BoxedMask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> BoxedMask:
    """Open a mask by a ball: thin bridges and specks go.

    Args:
        mask: The mask of one structure.
        radius_mm: Radius of the ball; 0 leaves the mask.
        spacing_mm: Voxel spacing.
    """
    if mask.voxels == 0:
        return mask
    padded, inner = _padded(mask, radius_mm, spacing_mm)
    opened = _dilated(_eroded(padded, radius_mm, spacing_mm), radius_mm, spacing_mm)
    return BoxedMask(opened[inner] & mask.inside, mask.start, mask.shape)


def closing(mask: BoxedMask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> BoxedMask:
    """Close a mask by a ball: gaps and notches fill.

    Args:
        mask: The mask of one structure.
        radius_mm: Radius of the ball; 0 leaves the mask.
        spacing_mm: Voxel spacing.
    """
    if mask.voxels == 0:
        return mask
    mask = _grown(mask, radius_mm, spacing_mm)
    padded, inner = _padded(mask, 2 * radius_mm, spacing_mm)
    closed = _eroded(_dilated(padded, radius_mm, spacing_mm), radius_mm, spacing_mm)
    return BoxedMask(closed[inner] | mask.inside, mask.start, mask.shape)


def _grown(mask: BoxedMask, margin_mm: float, spacing_mm: tuple[float, float, float]) -> BoxedMask:
    """Return the mask in a larger box."""
    low = [max(0, s - int(margin_mm / e) - 1) for s, e in zip(mask.start, spacing_mm, strict=True)]
    ends = zip(mask.start, mask.inside.shape, spacing_mm, mask.shape, strict=True)
    high = [min(whole, s + n + int(margin_mm / e) + 1) for s, n, e, whole in ends]
    x, y, z = (b - a for a, b in zip(low, high, strict=True))
    return BoxedMask(mask.within(tuple(low), (x, y, z)).whole(), (low[0], low[1], low[2]), mask.shape)


def _padded(
    mask: BoxedMask, margin_mm: float, spacing_mm: tuple[float, float, float]
) -> tuple[Bool[np.ndarray, "px py pz"], tuple[slice, ...]]:
    """Pad a mask, empty within the scan and continued beyond it; also return the place of the mask in the result."""
    margins = [int(np.ceil(margin_mm / s)) + 1 for s in spacing_mm]
    low = [min(m, start) for m, start in zip(margins, mask.start, strict=True)]
    past = [s + n for s, n in zip(mask.start, mask.inside.shape, strict=True)]
    high = [min(m, whole - end) for m, whole, end in zip(margins, mask.shape, past, strict=True)]
    within = np.pad(mask.inside, list(zip(low, high, strict=True)))
    beyond = [(m - a, m - b) for m, a, b in zip(margins, low, high, strict=True)]
    inner = tuple(slice(m, m + n) for m, n in zip(margins, mask.inside.shape, strict=True))
    return np.pad(within, beyond, mode="edge"), inner


def _eroded(
    mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: tuple[float, float, float]
) -> Bool[np.ndarray, "x y z"]:
    if mask.all():
        return mask
    return np.asarray(ndimage.distance_transform_edt(mask, spacing_mm) > radius_mm * (1 + SLACK))


def _dilated(
    mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: tuple[float, float, float]
) -> Bool[np.ndarray, "x y z"]:
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask, spacing_mm) <= radius_mm * (1 + SLACK))
