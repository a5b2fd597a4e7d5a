"""Normalisation of a scan and resampling to an imported network's grid, a few slices at a time.

nnU-Net normalises first, then interpolates with separable splines. So one matrix per axis does the same slab by slab,
and normalisation is a lookup table of the int16 values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int64

from tomoseg.grid import SLAB_SLICES, positions
from tomoseg.inference.nnunet.frame import NetworkGrid
from tomoseg.nnunet import Intensity, NnunetPlan

LEAST_SD = 1e-8
"""Lower bound of a standard deviation used as divisor."""

LEAST_WEIGHT = 1e-12
"""Spline weights below this are set to 0: a scan's values are some thousands."""

BAND = 32
"""Rows along x that are interpolated at once: splines reach over many slices, in 64 bits."""

_ALL = slice(None)
_LOWEST = int(np.iinfo(np.int16).min)
_VALUES = 2**16


@dataclass(frozen=True)
class Normalised:
    """A scan with its normalisation.

    Attributes:
        hu: The part of the scan that the grid covers.
        table: Normalised value of each int16 value, from the lowest.
        inside: Mask outside which normalised values are 0; None for everywhere.
    """

    hu: Int16[np.ndarray, "x y z"]
    table: Float32[np.ndarray, "values"]
    inside: Bool[np.ndarray, "x y z"] | None = None

    def slices(self, low: int, high: int, band: slice = _ALL) -> Float32[np.ndarray, "b y n"]:
        """Return a range of normalised axial slices.

        Args:
            low: First slice.
            high: One past the last slice.
            band: Part of them along x.
        """
        part = band, slice(None), slice(low, high)
        values = self.table[self.hu[part].astype(np.int64) - _LOWEST]
        if self.inside is not None:
            values[~self.inside[part]] = 0
        return values


def normalise(hu: Int16[np.ndarray, "x y z"], intensity: Intensity) -> Normalised:
    """Normalise a scan as nnU-Net does, in 32 bits.

    Args:
        hu: The part of the scan that the grid covers.
        intensity: The normalisation scheme.

    Example:
        >>> settings = Intensity(scheme="ct", mean=20, sd=200, low=-980, high=420)
        >>> normalise(np.array([[[-2000, 20, 220]]], np.int16), settings).slices(0, 3).tolist()
        [[[-5.0, 0.0, 1.0]]]
    """
    values = np.arange(_LOWEST, _LOWEST + _VALUES, dtype=np.float32)
    if intensity.scheme == "none":
        return Normalised(hu, values)
    if intensity.scheme == "ct":
        np.clip(values, intensity.low, intensity.high, out=values)
        values -= intensity.mean
        values /= max(intensity.sd, LEAST_SD)
        return Normalised(hu, values)
    inside = _filled(hu != 0) if intensity.masked else None
    counts = _counts(hu, inside)
    if not counts.any():  # all voxels are 0 and masked out
        return Normalised(hu, values, inside)
    if intensity.scheme == "rescale":
        there = values[counts > 0]
        values -= there.min()
        values /= max(float(there.max() - there.min()), LEAST_SD)
        return Normalised(hu, values)
    mean = float((values * counts).sum(dtype=np.float64) / counts.sum())
    sd = float(np.sqrt((np.square(values - mean) * counts).sum(dtype=np.float64) / counts.sum()))
    values -= mean
    values /= max(sd, LEAST_SD)
    return Normalised(hu, values, inside)


def _counts(hu: Int16[np.ndarray, "x y z"], inside: Bool[np.ndarray, "x y z"] | None) -> Int64[np.ndarray, "values"]:
    """Count each value, slice by slice."""
    counts = np.zeros(_VALUES, np.int64)
    for k in range(hu.shape[2]):
        here = hu[:, :, k].ravel() if inside is None else hu[:, :, k][inside[:, :, k]]
        counts += np.bincount(here.astype(np.int64) - _LOWEST, minlength=_VALUES)
    return counts


def _filled(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    from scipy import ndimage  # takes 0.2 s to import

    filled: Bool[np.ndarray, "x y z"] = ndimage.binary_fill_holes(mask)
    return filled


def slices_on_grid(scan: Normalised, grid: NetworkGrid, plan: NnunetPlan) -> Iterator[Float32[np.ndarray, "gx gy n"]]:
    """Yield the scan on the network's grid, a few axial slices at a time, from inferior to superior.

    Args:
        scan: The scan with its normalisation.
        grid: The network's grid.
        plan: The network's plan, with the interpolation order.
    """
    depth = grid.placement.shape[2]
    if not grid.placement.resamples:
        for first in range(0, depth, SLAB_SLICES):
            yield scan.slices(first, min(depth, first + SLAB_SLICES))
        return
    lengths = list(zip(grid.placement.extent, grid.placement.shape, strict=True))
    weights = [_weights(*edges, plan.scan_order, nearest=grid.separate == n) for n, edges in enumerate(lengths)]
    lowest, highest = _limits(scan, grid.separate)
    for first in range(0, depth, SLAB_SLICES):
        rows = weights[2][first : first + SLAB_SLICES]
        used = np.flatnonzero(rows.any(axis=0))
        low, high = int(used[0]), int(used[-1]) + 1
        cut = slice(low, high) if grid.separate == 2 else slice(None)
        limits = lowest[..., cut], highest[..., cut]
        along_z = None if grid.separate == 2 else rows[:, low:high]
        along = [weights[0], weights[1], rows[:, low:high]]
        yield _interpolated(_in_bands(scan, low, high, along_z), along, grid.separate, limits)


def _in_bands(
    scan: Normalised, low: int, high: int, along_z: Float64[np.ndarray, "n _"] | None
) -> Float64[np.ndarray, "x y _"]:
    """Return slices in 64 bits, interpolated along z unless it is the separate axis."""
    made = []
    for first in range(0, scan.hu.shape[0], BAND):
        values = scan.slices(low, high, slice(first, first + BAND)).astype(np.float64)
        made.append(values if along_z is None else _along(values, along_z, 2))
    return np.concatenate(made)


def _interpolated(
    values: Float64[np.ndarray, "x y z"],
    weights: list[Float64[np.ndarray, "_ _"]],
    separate: int | None,
    limits: tuple[Float32[np.ndarray, "_ _ _"], Float32[np.ndarray, "_ _ _"]],
) -> Float32[np.ndarray, "gx gy n"]:
    """Interpolate along x and y, clip the splines' overshoot, and take the nearest slice along a separate axis."""
    mixed = [axis for axis in (0, 1) if axis != separate]
    for axis in mixed:
        values = _along(values, weights[axis], axis)
    np.clip(values, *limits, out=values)
    if separate is not None:
        values = np.take(values, weights[separate].argmax(axis=1), separate)
    return values.astype(np.float32)


def _along(values: Float64[np.ndarray, "x y z"], weights: Float64[np.ndarray, "t l"], axis: int) -> np.ndarray:
    return np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)


def _weights(length: int, target: int, order: int, *, nearest: bool) -> Float64[np.ndarray, "target length"]:
    """Return the interpolation matrix of an axis, from the scan's voxels to the grid's.

    SciPy's splines are linear and separable: each column is the interpolation of a single voxel of 1.
    """
    if length == target:
        return np.eye(length)
    if nearest:
        chosen, _, _ = positions(length, target, nearest=True)
        return np.eye(length)[chosen]
    from scipy import ndimage  # takes 0.2 s to import

    made = ndimage.zoom(np.eye(length), (target / length, 1), order=order, mode="nearest", grid_mode=True)
    made[np.abs(made) < LEAST_WEIGHT] = 0
    weights: Float64[np.ndarray, "target length"] = made
    return weights


def _limits(
    scan: Normalised, separate: int | None
) -> tuple[Float32[np.ndarray, "_ _ _"], Float32[np.ndarray, "_ _ _"]]:
    """Return the lowest and the highest value of the scan, or of each slice along the separate axis."""
    depth = scan.hu.shape[2]
    others = tuple(axis for axis in range(3) if axis != separate)
    low, high = [], []
    for first in range(0, depth, SLAB_SLICES):
        part = scan.slices(first, min(depth, first + SLAB_SLICES))
        low.append(part.min(axis=others, keepdims=True))
        high.append(part.max(axis=others, keepdims=True))
    if separate == 2:
        return np.concatenate(low, axis=2), np.concatenate(high, axis=2)
    return np.minimum.reduce(low), np.maximum.reduce(high)
