"""Image formation in the scanner: blur, artefacts and noise on the HU of a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int16
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from tomoseg.bodies.config import ScannerConfig

BONE_HU = 300.0
METAL_HU = 2300.0
HALO_MM = 4.0
"""Spread over which dark bands are smooth."""
_FWHM = 2.355
_LOUDEST_HU = 70.0


@dataclass(frozen=True)
class Scan:
    """Settings of one scanner.

    Attributes:
        pixel_mm: Pixel spacing of its own images.
        slice_mm: Slice thickness.
        kernel_fwhm_mm: Full width at half maximum of the blur in plane.
        noise_hu: Standard deviation of the noise in 5 mm slices; see `ScannerConfig`.
        grain_mm: Grain size of the noise.
        streaks: Strength of noise along the widest direction.
        hardening_hu: Depth of the dark bands between bones.
        cupping_hu: Depth of the darker middle.
        motion_mm: Blur from front to back.
        rays_hu: Strength of rays from metal.
    """

    pixel_mm: float
    slice_mm: float
    kernel_fwhm_mm: float
    noise_hu: float
    grain_mm: float
    streaks: float
    hardening_hu: float
    cupping_hu: float
    motion_mm: float = 0.0
    rays_hu: float = 200.0

    @classmethod
    def draw(cls, config: ScannerConfig, rng: np.random.Generator) -> Scan:
        """Draw a scanner."""
        thickness = float(np.exp(rng.uniform(*np.log(np.maximum(config.slice_mm, 0.05)))))
        pixel, fwhm = float(rng.uniform(*config.pixel_mm)), float(rng.uniform(*config.kernel_fwhm_mm))
        noise, grain = float(rng.uniform(*config.noise_hu)), float(rng.uniform(*config.noise_grain_mm))
        streaks, hardening = float(rng.uniform(*config.streaks)), float(rng.uniform(*config.hardening_hu))
        cupping, rays = float(rng.uniform(*config.cupping_hu)), float(rng.uniform(*config.metal_rays_hu))
        motion = float(rng.uniform(*config.motion_mm)) if rng.random() < config.motion_share else 0.0
        return cls(pixel, thickness, fwhm, noise, grain, streaks, hardening, cupping, motion, rays)


def acquire(
    hu: Float32[np.ndarray, "x y z"],
    body: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    scan: Scan,
    rng: np.random.Generator,
) -> Int16[np.ndarray, "x y z"]:
    """Simulate the scan of a body.

    Args:
        hu: True HU, each the mean over its voxel.
        body: Mask of the body.
        spacing_mm: Voxel spacing of the grid, which may be coarser than the scanner's own.
        scan: The scanner.
        rng: Source of the noise.

    Returns:
        Measured HU, clipped to -1024 to 3071.
    """
    metal = hu > METAL_HU
    measured = hu.copy()
    _darken(measured, hu, body, spacing_mm, scan)
    if metal.any():
        measured += _metal_rays(metal, spacing_mm, scan.rays_hu, rng)
    measured = _blurred(measured, spacing_mm, scan)
    measured += _noise(hu, body, spacing_mm, scan, rng)
    return np.clip(np.rint(measured), -1024, 3071).astype(np.int16)


def noise_spread(spacing_mm: tuple[float, float, float], scan: Scan) -> float:
    """Return the noise's standard deviation in HU on a grid: more in thin slices, less in pixels above grain size.

    Example:
        >>> scan = Scan(1.0, 5.0, 1.0, 10.0, 1.5, 0.0, 0.0, 0.0)
        >>> noise_spread((1, 1, 5), scan), noise_spread((3, 3, 5), scan)
        (10.0, 5.0)
    """
    thickness = max(scan.slice_mm, spacing_mm[2])
    spread = scan.noise_hu * np.sqrt(5.0 / thickness) * min(1.0, scan.grain_mm / max(spacing_mm[:2]))
    return float(min(spread, _LOUDEST_HU))


def _blurred(
    hu: Float32[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], scan: Scan
) -> Float32[np.ndarray, "x y z"]:
    """Blur by the kernel in plane, and along z by the excess of slice thickness over the grid's spacing."""
    wider = max(0.0, scan.slice_mm**2 - spacing_mm[2] ** 2) / 12
    kernel = scan.kernel_fwhm_mm / _FWHM
    moved = np.hypot(kernel, scan.motion_mm / _FWHM)
    sigmas = [kernel / spacing_mm[0], moved / spacing_mm[1], np.sqrt(wider) / spacing_mm[2]]
    for axis, sigma in enumerate(sigmas):
        if sigma > 0.15:
            hu = gaussian_filter1d(hu, sigma, axis, truncate=3.0, mode="nearest")
    return hu


def _noise(
    hu: Float32[np.ndarray, "x y z"],
    body: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    scan: Scan,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "x y z"]:
    """Draw grainy noise, louder in wide slices, with streaks along rows through much bone."""
    noise = rng.standard_normal(hu.shape, np.float32)
    wider = max(0.0, scan.slice_mm**2 - spacing_mm[2] ** 2) / 12
    for axis, sigma in enumerate([*(scan.grain_mm / _FWHM / s for s in spacing_mm[:2]), wider**0.5 / spacing_mm[2]]):
        if sigma > 0.15:
            noise = gaussian_filter1d(noise, sigma, axis, truncate=3.0, mode="wrap")
    spread = max(float(noise.std()), 1e-6)
    width = body.sum(0).max(0) * spacing_mm[0] if body.any() else np.zeros(hu.shape[2])
    loud = np.clip(np.exp(0.5 * 0.0095 * (width - 330)), 0.6, 1.8).astype(np.float32)
    level = np.float32(noise_spread(spacing_mm, scan) / spread)
    noise *= level * loud
    if scan.streaks > 0:
        bone = np.clip(hu - BONE_HU, 0, 1000).sum(0) * (spacing_mm[0] / 1000)
        rows = np.clip((gaussian_filter1d(bone, 2.0, 0) - 15) / 25, 0, 1.6).astype(np.float32)
        if rows.any():
            smeared = gaussian_filter1d(rng.standard_normal(hu.shape, np.float32), 25 / spacing_mm[0], 0, mode="wrap")
            smeared *= np.float32(scan.streaks * noise_spread(spacing_mm, scan) / max(float(smeared.std()), 1e-6))
            noise += smeared * rows
    return noise


def _darken(
    measured: Float32[np.ndarray, "x y z"],
    hu: Float32[np.ndarray, "x y z"],
    body: Bool[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    scan: Scan,
) -> None:
    """Beam hardening: darker where dense bone lies on both sides of a point, and in the middle of the body."""
    dark = np.zeros_like(hu)
    box = _box_of(hu > BONE_HU, [2 * HALO_MM / s + 1 for s in spacing_mm[:2]])
    if hu[box].size:
        bone = np.clip(hu[box] - BONE_HU, 0, 900) * np.float32(1 / 900)
        dark[box] = _between_bones(bone, spacing_mm) * np.float32(scan.hardening_hu)
    if scan.cupping_hu > 0 and body.any():
        x, y = (np.linspace(-1, 1, n, dtype=np.float32) ** 2 for n in hu.shape[:2])
        dark += np.float32(scan.cupping_hu) * np.clip(1 - x[:, None] - y, 0, 1)[:, :, None]
    measured -= np.where(body & (hu < BONE_HU + 180), dark, 0)


def _between_bones(
    bone: Float32[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> Float32[np.ndarray, "x y z"]:
    """Return the amount of bone on both sides of each point, from 0 to 1.4."""
    dark = np.zeros_like(bone)
    for axis, share in ((0, 1.0), (1, 0.4)):
        before = np.cumsum(bone, axis) * np.float32(spacing_mm[axis])
        total = before.take([-1], axis)
        dark += np.float32(share) * np.clip(np.minimum(before, total - before) / 12, 0, 1)
    return np.asarray(gaussian_filter(dark, [HALO_MM / spacing_mm[0], HALO_MM / spacing_mm[1], 0], truncate=2.0))


def _box_of(mask: Bool[np.ndarray, "x y z"], margins: Sequence[float]) -> tuple[slice, slice, slice]:
    """Return the bounding box of a mask, widened by `margins` voxels in plane; empty for an empty mask."""
    ends = []
    for axis, margin in enumerate([*margins, 0.0]):
        found = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        low, high = (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)
        ends.append(slice(max(0, low - int(margin)), high + int(margin)) if high else slice(0, 0))
    x, y, z = ends
    return x, y, z


def _metal_rays(
    metal: Bool[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], strength: float, rng: np.random.Generator
) -> Float32[np.ndarray, "x y z"]:
    """Bright and dark rays from metal, in its slices only."""
    rays = np.zeros(metal.shape, np.float32)
    x, y = (np.arange(n, dtype=np.float32) * s for n, s in zip(metal.shape[:2], spacing_mm[:2], strict=True))
    for k in np.flatnonzero(metal.any((0, 1))):
        found = np.argwhere(metal[:, :, k]) * spacing_mm[:2]
        centre = found.mean(0)
        away, along = x[:, None] - np.float32(centre[0]), y - np.float32(centre[1])
        angle = np.arctan2(along, away)
        radius = np.sqrt(away**2 + along**2) + 4
        ray = gaussian_filter1d(rng.standard_normal(256), 2.0, mode="wrap")
        ray *= strength / ray.std() * min(1.0, np.sqrt(len(found)) * spacing_mm[0] / 15)
        spots = ray[((angle + np.pi) / (2 * np.pi) * 255).astype(int)]
        rays[:, :, k] = np.where(metal[:, :, k], 0, spots * np.exp(-radius / 55)).astype(np.float32)
    return rays
