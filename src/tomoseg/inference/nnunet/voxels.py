"""Resampling to the spacing of a TotalSegmentator task and back, bit for bit as TotalSegmentator does it.

The centres of the first and the last voxel stay in place, and the others lie evenly between them. Values are
interpolated linearly in 64 bits and truncated to integers, in the order of operations of SciPy's `zoom`: another
order changes the last bits, and a whole value may truncate to the next HU.

Source: TotalSegmentator 2.18, `change_spacing` of its `resampling.py`, on a CPU.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Int16, Int64

from tomoseg.errors import GridError
from tomoseg.grid import MOST_VOXELS, Triple
from tomoseg.kernels import kernel

Edges = tuple[float, float, float]


def shape_on(shape: Triple, own_mm: Edges, wanted_mm: Edges) -> Triple:
    """Return the shape of a scan at a task's spacing.

    Args:
        shape: Shape of the scan.
        own_mm: Its voxel spacing; rounded to 32 bits, as in NIfTI headers.
        wanted_mm: The task's voxel spacing.

    Raises:
        GridError: If it has more than `MOST_VOXELS`.

    Example:
        >>> shape_on((512, 512, 300), (0.8, 0.8, 1.5), (1.5, 1.5, 1.5))
        (273, 273, 300)
    """
    sizes = zip(shape, own_mm, wanted_mm, strict=True)
    found = [max(1, round(edge * (float(np.float32(own)) / wanted))) for edge, own, wanted in sizes]
    if math.prod(found) > MOST_VOXELS:
        raise GridError(
            f"expected a grid of at most {MOST_VOXELS} voxels, got {tuple(found)} for voxels of "
            f"{tuple(round(edge, 3) for edge in own_mm)} mm; check the scan's unit"
        )
    return (found[0], found[1], found[2])


def brought(hu: Int16[np.ndarray, "x y z"], shape: Triple) -> Int16[np.ndarray, "gx gy gz"]:
    """Resample a scan to another shape.

    Args:
        hu: The scan in HU.
        shape: Voxels along each axis.

    Example:
        >>> brought(np.array([[[-10, -5, 0]]], np.int16), (1, 1, 5)).tolist()
        [[[-10, -7, -5, -2, 0]]]
    """
    if hu.shape == shape:
        return hu
    out = np.empty(shape, np.int16, order="F")
    x, y, z = (_between(length, target) for length, target in zip(hu.shape, shape, strict=True))
    for k in range(shape[2]):
        slices = hu[:, :, z[0][k]], hu[:, :, z[1][k]]
        _fill_slice(slices, (z[2][k], z[3][k]), x, y, out[:, :, k])
    return out


def nearest(length: int, target: int) -> Int64[np.ndarray, "target"]:
    """Return, along one axis, the index of the task's voxel from which each voxel of the scan takes its label.

    Example:
        >>> nearest(3, 5).tolist()
        [0, 1, 1, 2, 2]
    """
    from scipy import ndimage  # takes 0.2 s to import

    if length == target:
        return np.arange(length)
    numbers = np.arange(length, dtype=np.float64)
    chosen: Int64[np.ndarray, "target"] = ndimage.zoom(numbers, target / length, order=0, mode="nearest").astype(int)
    return chosen


def _between(length: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the voxels below and above each target voxel, and their weights, the upper as 1 - lower."""
    place = np.arange(target) * ((length - 1) / (target - 1) if target > 1 else 1.0)
    below = np.floor(place)
    low = np.minimum(below.astype(np.int64), length - 1)
    lower = 1.0 - (place - below)
    return low, np.minimum(low + 1, length - 1), lower, 1.0 - lower


@kernel()
def _fill_slice(slices, weights, along_x, along_y, out):  # type: ignore[no-untyped-def]
    """Sum over eight voxels, x outermost and z innermost, each weighted by x, then y, then z."""
    low, high = slices
    z0, z1 = weights
    left, right, weights_x0, weights_x1 = along_x
    front, back, weights_y0, weights_y1 = along_y
    for i in range(len(left)):
        a, b, x0, x1 = left[i], right[i], weights_x0[i], weights_x1[i]
        for j in range(len(front)):
            c, d, y0, y1 = front[j], back[j], weights_y0[j], weights_y1[j]
            value = low[a, c] * x0 * y0 * z0
            value += high[a, c] * x0 * y0 * z1
            value += low[a, d] * x0 * y1 * z0
            value += high[a, d] * x0 * y1 * z1
            value += low[b, c] * x1 * y0 * z0
            value += high[b, c] * x1 * y0 * z1
            value += low[b, d] * x1 * y1 * z0
            value += high[b, d] * x1 * y1 * z1
            out[i, j] = int(value)
