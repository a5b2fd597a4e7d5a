"""Timing of engines per slice: repeated in turn until the times are stable.

One cold run is not representative: it compiles, fills caches and raises the clock, and other programs may interfere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

NetworkImage = Float32[np.ndarray, "1 w *xyz"]

ROUNDS = 5
"""Number of last rounds that have to be stable, and that the result is computed from."""

STABLE = 0.1
"""Maximum interquartile range of these rounds, as a fraction of their median."""

MOST_SECONDS = 60.0
"""Maximum seconds; after these and `ROUNDS` rounds the result is marked as not stable."""


@dataclass(frozen=True)
class Timing:
    """Time per slice in ms.

    Attributes:
        median: Median of the last rounds, each a mean over slices.
        low: First quartile of these.
        high: Third quartile.
        rounds: Number of all rounds, including the warm-up.
        is_stable: Whether the quartiles of every engine lie near its median.
    """

    median: float
    low: float
    high: float
    rounds: int
    is_stable: bool

    def divided_by(self, slices: int) -> Timing:
        """Return the time per slice of runs of several slices."""
        return replace(self, median=self.median / slices, low=self.low / slices, high=self.high / slices)


def time_engines(
    runs: Sequence[Callable[[NetworkImage], object]],
    images: Sequence[NetworkImage],
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time engines until the times are stable.

    In a round each engine computes all slices once, and each round begins with another engine, so that a slow machine
    affects all of them; the first round is a warm-up. It ends when the interquartile range of each engine's last
    `ROUNDS` rounds is within `STABLE` of their median, or after `MOST_SECONDS` and at least `ROUNDS` rounds.

    Args:
        runs: Runs each engine on an image.
        images: Network inputs.
        clock: Clock in seconds.
    """
    began = clock()
    _round(runs, images, 0, clock)
    taken: list[list[float]] = []
    while True:
        taken.append(_round(runs, images, len(taken) + 1, clock))
        found = [_timing(list(mine)[-ROUNDS:], len(taken) + 1) for mine in zip(*taken, strict=True)]
        if all(timing.is_stable for timing in found) or (len(taken) >= ROUNDS and clock() - began > MOST_SECONDS):
            return found


def _round(
    runs: Sequence[Callable[[NetworkImage], object]],
    images: Sequence[NetworkImage],
    number: int,
    clock: Callable[[], float],
) -> list[float]:
    """Return the time of each engine in ms per slice."""
    taken = [0.0] * len(runs)
    for turn in range(len(runs)):
        place = (number + turn) % len(runs)
        began = clock()
        for image in images:
            runs[place](image)
        taken[place] = 1000 * (clock() - began) / len(images)
    return taken


def _timing(last: Sequence[float], rounds: int) -> Timing:
    low, median, high = (float(value) for value in np.percentile(last, (25, 50, 75)))
    return Timing(median, low, high, rounds, len(last) == ROUNDS and high - low <= STABLE * median)
