"""Smooth noise in space: one periodic block of it, looked up at any scale and place."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from tomoseg.kernels import inlined

CELLS = 64
"""Edge of the block; a power of two."""


@cache
def noise_block() -> Float32[np.ndarray, "64 64 64"]:
    """Return periodic Gaussian noise of mean 0 and standard deviation 1, smooth over about four cells."""
    white = np.random.default_rng(117).standard_normal((CELLS,) * 3, np.float32)
    smooth = gaussian_filter(white, 1.6, mode="wrap")
    smooth -= smooth.mean()
    return np.ascontiguousarray(smooth / smooth.std(), np.float32)


@inlined
def noise_at(block, x, y, z):  # type: ignore[no-untyped-def]
    """Return the noise at a point given in cells, each coordinate 0 or more."""
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    i0, j0, k0 = i & 63, j & 63, k & 63
    i1, j1, k1 = (i + 1) & 63, (j + 1) & 63, (k + 1) & 63
    one = np.float32(1)
    a = (one - w) * block[i0, j0, k0] + w * block[i0, j0, k1]
    b = (one - w) * block[i0, j1, k0] + w * block[i0, j1, k1]
    c = (one - w) * block[i1, j0, k0] + w * block[i1, j0, k1]
    d = (one - w) * block[i1, j1, k0] + w * block[i1, j1, k1]
    return (one - u) * ((one - v) * a + v * b) + u * ((one - v) * c + v * d)
