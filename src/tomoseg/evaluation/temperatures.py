"""Calibration temperatures, fitted to logits of patients that the network was not trained on.

A network trained for long is overconfident, also where it is wrong. Its logits are divided by one temperature above 0
and by another below, so that their signs, and with them all masks at a threshold of 0.5, stay the same. The first is
chosen so that the mean probability inside of masks is the share of their voxels that are correct, the second so that
the probabilities outside add up to the missed voxels; the expected Dice is then right on average. Every patient has
the same weight.

One temperature for both sides, fitted by likelihood, is the usual method (Guo, C. et al. (2017). On calibration of
modern neural networks. ICML). It was tried and leaves the expected Dice too high: false negatives and false positives
have different causes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32, Float64

BINS, WIDTH = 1024, 1 / 16
"""Number and width of the histogram bins of logits, which cover -32 to 32."""

LEAST, MOST = 0.25, 32.0
"""Limits of a temperature."""

Temperatures = Mapping[str, tuple[float, float]]
"""Temperatures of each structure for logits above and below 0."""

_LOGITS = (np.arange(BINS) - BINS // 2 + 0.5) * WIDTH


class LogitCounts:
    """Histograms of each structure's logits, inside and outside of its reference.

    Args:
        structures: Number of structures.

    Attributes:
        cases: Number of cases in which each structure occurred.
        weights: Histogram of each structure's logits outside and inside of its reference; each case is weighted by the
            voxels of its reference.

    Example:
        >>> counts = LogitCounts(1)
        >>> logits = np.array([[[2.0, 2.0, -3.0, -3.0]]], np.float32)
        >>> counts.add(logits, np.array([[[True, True, True, False]]]))
        >>> counts.end_case([0])
        >>> inside, outside = counts.fit(0)
        >>> inside == LEAST, round(float(1 / (1 + np.exp(2.97 / outside))), 2)  # two of two inside, one of two outside
        (True, 0.48)
    """

    def __init__(self, structures: int) -> None:
        self.cases = np.zeros(structures, np.int64)
        self.weights: Float64[np.ndarray, "c 2 n"] = np.zeros((structures, 2, BINS))
        self._case = np.zeros_like(self.weights)

    def add(self, logits: Float32[np.ndarray, "c x y"], reference: Bool[np.ndarray, "c x y"]) -> None:
        """Count a slice of the current case."""
        bins = np.clip(np.floor(logits / WIDTH), -BINS // 2, BINS // 2 - 1).astype(np.int64) + BINS // 2
        places = (2 * np.arange(len(bins))[:, None, None] + reference) * BINS + bins
        self._case += np.bincount(places.reshape(-1), minlength=self._case.size).reshape(self._case.shape)

    def end_case(self, annotated: list[int]) -> None:
        """Finish a case: add its counts, weighted by the voxels of each structure's reference.

        Args:
            annotated: Channels of the structures that are annotated in the case.
        """
        voxels = self._case[:, 1].sum(axis=1)
        known = np.zeros(len(voxels), bool)
        known[annotated] = True
        shown = known & (voxels > 0)
        self.weights[shown] += self._case[shown] / voxels[shown, None, None]
        self.cases += shown
        self._case[:] = 0

    def fit(self, channel: int | None) -> tuple[float, float]:
        """Fit the temperatures for logits above and below 0.

        Args:
            channel: Channel of the structure; None fits all structures together.
        """
        weights = self.weights.sum(axis=0) if channel is None else self.weights[channel]
        return _matching(weights, _LOGITS > 0), _matching(weights, _LOGITS < 0)


def _matching(weights: Float64[np.ndarray, "2 n"], side: Bool[np.ndarray, "n"]) -> float:
    """Find the temperature at which the probabilities of one side add up to the reference voxels there."""
    logits, voxels, of_reference = _LOGITS[side], weights[:, side].sum(axis=0), weights[1, side].sum()
    if not voxels.any():
        return 1.0
    low, high = np.log(LEAST), np.log(MOST)
    above = bool(logits[0] > 0)
    for _ in range(40):  # to within a millionth
        middle = (low + high) / 2
        expected = (voxels / (1 + np.exp(-logits / np.exp(middle)))).sum()
        colder = expected < of_reference if above else expected > of_reference
        low, high = (low, middle) if colder else (middle, high)
    found = float(np.exp((low + high) / 2))
    return next((end for end in (LEAST, MOST) if abs(found / end - 1) < 1e-5), found)


def scales_of(temperatures: Temperatures | None, names: tuple[str, ...]) -> Float32[np.ndarray, "c 2"]:
    """Return the factors for logits above and below 0, `(structures, 2)`: inverse temperatures, or 1 without any.

    Args:
        temperatures: Temperatures of all structures, or None.
        names: Names of the structures in channel order.
    """
    if temperatures is None:
        return np.ones((len(names), 2), np.float32)
    return np.array([[1 / above, 1 / below] for above, below in (temperatures[name] for name in names)], np.float32)
