"""A hint whether vessels are enhanced by contrast medium. Bone is bright too, but not homogeneous as blood is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int16, Int64

from tomoseg.volume import Volume

Hint = Literal["likely", "not seen"]

BRIGHT_HU = (130, 500)
"""HU range above blood and organs without contrast medium, and below dense bone."""

DENSE_HU = 400
EVEN_HU = 25.0
"""Maximum standard deviation inside of a vessel after smoothing; inside of bone it is 40 or more."""

LEAST_PIECE_ML, LEAST_ML = 3.0, 5.0
"""Minimum volume in ml of a component that counts as a vessel, and of all of them together."""

_SAMPLE_MM = 3.5


@dataclass(frozen=True)
class Contrast:
    """A hint about contrast medium.

    Attributes:
        hint: `likely`, or `not seen`, which does not mean that none was given.
        bright_ml: Bright, homogeneous volume in ml away from dense bone.
        bright_hu: Its median HU; None if there is none.
    """

    hint: Hint
    bright_ml: float
    bright_hu: int | None


def find_contrast(volume: Volume) -> Contrast:
    """Look for large, bright, homogeneous volumes in a scan."""
    from scipy import ndimage  # takes 0.2 s to import

    steps = [max(1, round(_SAMPLE_MM / edge)) for edge in volume.spacing_mm]
    sample = np.ascontiguousarray(volume.hu[tuple(slice(None, None, step) for step in steps)])
    voxel_ml = float(np.prod([step * edge for step, edge in zip(steps, volume.spacing_mm, strict=True)])) / 1000
    cross = ndimage.generate_binary_structure(3, 1)
    dense = ndimage.binary_dilation(sample > DENSE_HU, cross)
    bright = (sample > BRIGHT_HU[0]) & (sample < BRIGHT_HU[1]) & ~dense
    pieces, _ = ndimage.label(ndimage.binary_opening(bright, cross))
    sizes = np.bincount(pieces.ravel())
    large = sizes * voxel_ml >= LEAST_PIECE_ML
    large[0] = False
    places = np.nonzero(large[pieces])
    of_piece, smooth = pieces[places], _smoothed(sample, places)
    counts = np.maximum(np.bincount(of_piece, minlength=sizes.size), 1)
    away = smooth - (np.bincount(of_piece, smooth, sizes.size) / counts)[of_piece]
    spread = np.sqrt(np.bincount(of_piece, away**2, sizes.size) / counts)
    even = (large & (spread <= EVEN_HU))[of_piece]
    volume_ml = float(even.sum()) * voxel_ml
    hu = int(np.median(smooth[even])) if even.any() else None
    return Contrast("likely" if volume_ml >= LEAST_ML else "not seen", round(volume_ml, 1), hu)


def _smoothed(
    sample: Int16[np.ndarray, "x y z"], places: tuple[Int64[np.ndarray, " n"], ...]
) -> Float64[np.ndarray, " n"]:
    """Return the median of each place and its six neighbours."""
    around = [sample[places]]
    for axis, length in enumerate(sample.shape):
        for step in (-1, 1):
            moved = list(places)
            moved[axis] = np.clip(places[axis] + step, 0, length - 1)
            around.append(sample[tuple(moved)])
    return np.median(np.stack(around), axis=0)
