"""Peaks of a histogram, without importing scipy.signal, which takes half a second."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64


def find_peaks(values: Float64[np.ndarray, " n"], distance: int) -> Int64[np.ndarray, " p"]:
    """Find local maxima at least a distance apart; of two that are closer, the higher one is kept.

    Args:
        values: `(n,)`, finite. A plateau counts as one maximum at its centre; the first and the last value never count.
        distance: Minimum distance of two peaks, in indices.

    Returns:
        `(p,)`, their indices, ascending.

    Example:
        >>> find_peaks(np.array([0.0, 2, 1, 3, 0, 5, 5, 5, 0]), 3).tolist()
        [3, 6]
    """
    changes = np.flatnonzero(np.diff(values))
    first, last = np.r_[0, changes + 1], np.r_[changes, len(values) - 1]
    heights = values[first]
    above = np.flatnonzero((heights[1:-1] > heights[:-2]) & (heights[1:-1] > heights[2:])) + 1
    peaks = (first[above] + last[above]) // 2
    kept = np.ones(len(peaks), bool)
    for highest in np.argsort(values[peaks])[::-1]:
        if kept[highest]:
            kept &= np.abs(peaks - peaks[highest]) >= distance
            kept[highest] = True
    return peaks[kept]
