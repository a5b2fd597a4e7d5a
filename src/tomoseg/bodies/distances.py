"""Distances in label maps, in compiled loops: two sweeps over 26 neighbours, exact to some percent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy.ndimage import distance_transform_edt

from tomoseg.kernels import kernel

DEPTH_UNIT_MM = 0.25
"""Depths are kept as bytes in this unit, up to 63 mm."""


def depth_within(
    kinds: UInt8[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> UInt8[np.ndarray, "x y z"]:
    """Return each voxel's depth under the surface of its class, in `DEPTH_UNIT_MM`; 0 in the background.

    The border of the array is not a surface.

    Args:
        kinds: Class of each voxel; 0 is background.
        spacing_mm: Voxel spacing per axis.

    Example:
        >>> row = np.zeros((9, 1, 1), np.uint8); row[2:7] = 1
        >>> (depth_within(row, (2, 2, 2))[:, 0, 0] * DEPTH_UNIT_MM).tolist()
        [0.0, 0.0, 1.0, 3.0, 5.0, 3.0, 1.0, 0.0, 0.0]
    """
    depth = np.where(kinds > 0, np.float32(63), np.float32(0))
    steps, lengths = _neighbours(spacing_mm)
    for turn in (1, -1):
        _sweep_depth(kinds[::turn, ::turn, ::turn], depth[::turn, ::turn, ::turn], steps, lengths)
    return np.rint(np.minimum(depth, 63) / DEPTH_UNIT_MM).astype(np.uint8)


def spread(seeds: Float32[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]) -> Float32[np.ndarray, "x y z"]:
    """Return the least of seed + distance to it, in mm; with seeds of minus a radius, the distance to their balls."""
    found = seeds.copy()
    steps, lengths = _neighbours(spacing_mm)
    for turn in (1, -1):
        _sweep_spread(found[::turn, ::turn, ::turn], steps, lengths)
    return found


def closed_distance(
    mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: tuple[float, float, float]
) -> Float32[np.ndarray, "x y z"]:
    """Distance to a mask whose bays narrower than twice the radius are filled; negative inside.

    What touches the first or last slice counts as going on there.
    """
    far = np.float32(1e3)
    if not mask.any():
        return np.full(mask.shape, far, np.float32)
    grown = distance_transform_edt(~mask, spacing_mm) <= radius_mm
    if grown.all():
        return np.full(mask.shape, -far, np.float32)
    closed = distance_transform_edt(grown, spacing_mm) > radius_mm
    outside = distance_transform_edt(~closed, spacing_mm) if closed.any() else far
    inside = distance_transform_edt(closed, spacing_mm)
    return (outside - inside).astype(np.float32)


def _neighbours(spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The 13 neighbours that come before a voxel, and how far they are."""
    steps = np.array([s for s in np.ndindex(3, 3, 3) if s < (1, 1, 1)], np.int64) - 1
    return steps, np.sqrt(((steps * np.asarray(spacing_mm)) ** 2).sum(1)).astype(np.float32)


@kernel()
def _is_within(shape, u, v, w):  # type: ignore[no-untyped-def]
    return 0 <= u < shape[0] and 0 <= v < shape[1] and 0 <= w < shape[2]


@kernel()
def _sweep_depth(kinds, depth, steps, lengths):  # type: ignore[no-untyped-def]
    """Sweep forwards; the backward sweep is this one on the reversed arrays."""
    for i, j, k in np.ndindex(kinds.shape):
        kind, best = kinds[i, j, k], depth[i, j, k]
        if kind == 0:
            continue
        for n in range(steps.shape[0]):
            u, v, w = i + steps[n, 0], j + steps[n, 1], k + steps[n, 2]
            if not _is_within(kinds.shape, u, v, w):
                continue
            if kinds[u, v, w] == kind:
                best = min(best, depth[u, v, w] + lengths[n])
            else:
                best = min(best, np.float32(0.5) * lengths[n])
        depth[i, j, k] = best


@kernel()
def _sweep_spread(found, steps, lengths):  # type: ignore[no-untyped-def]
    for i, j, k in np.ndindex(found.shape):
        best = found[i, j, k]
        for n in range(steps.shape[0]):
            u, v, w = i + steps[n, 0], j + steps[n, 1], k + steps[n, 2]
            if _is_within(found.shape, u, v, w):
                best = min(best, found[u, v, w] + lengths[n])
        found[i, j, k] = best
