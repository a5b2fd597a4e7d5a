"""Smoothing of logits over neighbouring slices, as they stream by."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np
from jaxtyping import Float32

MOST_REACH = 3
"""Largest number of slices averaged on either side; twice as many plus one are held."""


def smoothed(
    logits: Iterable[Float32[np.ndarray, "c x y"]], sigma: float
) -> Generator[Float32[np.ndarray, "c x y"], None, None]:
    """Yield each slice averaged with its neighbours by Gaussian weights, renormalised at the ends.

    Args:
        logits: Logits of the grid's slices from inferior to superior.
        sigma: Standard deviation in slices; 0 yields the slices as they are.

    Example:
        >>> slices = [np.full((1, 1, 1), value, np.float32) for value in (0.0, 1.0)]
        >>> [round(float(s.item()), 3) for s in smoothed(slices, 0.5)]  # exp(-2) = 0.135 of 1.135
        [0.119, 0.881]
    """
    if sigma == 0:
        yield from logits
        return
    reach = min(MOST_REACH, int(np.ceil(2 * sigma)))
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2).tolist()
    held: list[Float32[np.ndarray, "c x y"]] = []
    middle = 0  # index of the next slice among those held
    for slice_logits in logits:
        held.append(slice_logits)
        if len(held) > middle + reach:
            yield _mean(held, middle, weights)
            middle += 1
            if middle > reach:
                held, middle = held[1:], reach
    while middle < len(held):
        yield _mean(held, middle, weights)
        middle += 1
        if middle > reach:
            held, middle = held[1:], reach


def _mean(held: list[Float32[np.ndarray, "c x y"]], middle: int, weights: list[float]) -> Float32[np.ndarray, "c x y"]:
    near = range(max(0, middle - len(weights) + 1), min(len(held), middle + len(weights)))
    whole = sum(weights[abs(k - middle)] for k in near)
    total = held[middle] * (weights[0] / whole)
    for k in near:
        if k != middle:
            total = total + held[k] * (weights[abs(k - middle)] / whole)
    return total
