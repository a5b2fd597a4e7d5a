"""A conditional random field that moves the border of a mask to edges of the CT.

Each uncertain voxel is pulled towards the state of its surroundings, most by voxels that are near and similar in HU.
Only voxels of intermediate probability are decided again; certain voxels pull and stay. Structures are independent,
since masks may overlap.

Source: Krahenbuhl, P. & Koltun, V. (2011). Efficient inference in fully connected CRFs. NIPS, 109-117 (mean field with
a bilateral kernel); here the kernel is cut off at a radius and summed exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16, Int64, UInt8

from tomoseg.kernels import kernel
from tomoseg.masks import BoxedMask

UNCERTAIN = (13, 242)
"""Limits of uncertain probabilities: 0.05 and 0.95 of 255."""


@dataclass(frozen=True)
class CrfSettings:
    """Parameters of the random field.

    Attributes:
        weight: Largest amount that surroundings add to a voxel's logit; 0 changes nothing.
        radius_mm: Radius of the neighbourhood.
        sigma_mm: Standard deviation of the Gaussian of the distance.
        sigma_hu: Standard deviation of the Gaussian of the difference in HU.
        rounds: Number of mean-field iterations.
    """

    weight: float = 3.0
    radius_mm: float = 6.0
    sigma_mm: float = 3.0
    sigma_hu: float = 60.0
    rounds: int = 5


def refine(
    mask: BoxedMask,
    probability: UInt8[np.ndarray, "x y z"],
    hu: Int16[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    settings: CrfSettings,
) -> BoxedMask:
    """Decide the uncertain voxels of a mask again.

    Args:
        mask: The mask of one structure.
        probability: Its probability, 0 to 255, for the whole scan.
        hu: The scan in HU.
        spacing_mm: Voxel spacing.
        settings: Parameters of the random field.
    """
    seen = (probability >= UNCERTAIN[0]) | mask.whole()
    if not seen.any():
        return mask
    around = BoxedMask.of(seen)
    reach = [int(settings.radius_mm / s) for s in spacing_mm]
    box = tuple(
        slice(max(0, s - r), min(n, s + w + r))
        for s, w, r, n in zip(around.start, around.inside.shape, reach, mask.shape, strict=True)
    )
    inside = mask.whole()[box]
    chances = probability[box].astype(np.float32) / 255
    logits = np.log(np.clip(chances, 1e-3, 1 - 1e-3) / np.clip(1 - chances, 1e-3, 1 - 1e-3))
    smallest = np.float32(1e-6)  # the sign agrees with the mask, whatever the threshold and the rounding
    logits = np.where(inside, np.maximum(logits, smallest), np.minimum(logits, -smallest)).astype(np.float32)
    band = np.argwhere((probability[box] >= UNCERTAIN[0]) & (probability[box] <= UNCERTAIN[1]))
    offsets, weights = _kernel(reach, spacing_mm, settings)
    state = 2 / (1 + np.exp(-logits)) - 1
    for _ in range(settings.rounds):
        state[tuple(band.T)] = _pulled(band, offsets, weights, state, logits, hu[box], np.float32(settings.sigma_hu))
    decided = np.where(inside, np.float32(1), np.float32(-1))
    decided[tuple(band.T)] = state[tuple(band.T)]
    return BoxedMask(decided > 0, tuple(s.start for s in box), mask.shape)  # type: ignore[arg-type]


def _kernel(
    reach: list[int], spacing_mm: tuple[float, float, float], settings: CrfSettings
) -> tuple[Int64[np.ndarray, "n 3"], Float32[np.ndarray, "n"]]:
    """Return the offsets of neighbours within the radius, and their weights, which add up to `weight`."""
    around = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    far = np.linalg.norm(around * np.array(spacing_mm), axis=1)
    chosen = (far > 0) & (far <= settings.radius_mm)
    weights = np.exp(-0.5 * (far[chosen] / settings.sigma_mm) ** 2)
    return around[chosen], (settings.weight * weights / max(weights.sum(), 1e-12)).astype(np.float32)


@kernel()
def _pulled(band, offsets, weights, state, logits, hu, sigma_hu):  # type: ignore[no-untyped-def]
    out = np.empty(len(band), np.float32)
    nx, ny, nz = state.shape
    for i in range(len(band)):
        x, y, z = band[i]
        own, pull = float(hu[x, y, z]), np.float32(0)
        for j in range(len(offsets)):
            a, b, c = x + offsets[j, 0], y + offsets[j, 1], z + offsets[j, 2]
            if 0 <= a < nx and 0 <= b < ny and 0 <= c < nz:
                difference = (float(hu[a, b, c]) - own) / sigma_hu
                pull += weights[j] * np.exp(np.float32(-0.5 * difference * difference)) * state[a, b, c]
        out[i] = np.tanh((logits[x, y, z] + pull) / 2)
    return out
