"""How long engines take for a slice: again and again in turn, until the times are stable.

One cold run says nothing: it compiles, fills caches and raises the clock, and another program may run beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

NetworkImage = Float32[np.ndarray, "1 w *xyz"]

ROUNDS = 5
"""The last so many rounds have to be stable, and make the figure."""

STABLE = 0.1
"""Of their median, the middle half of these rounds may be so far apart."""

MOST_SECONDS = 60.0
"""After so many, and `ROUNDS` rounds, what is there is taken, and said not to be stable."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds a slice.

    Attributes:
        median: The median of the last rounds, a mean over slices each.
        low: First quartile of these.
        high: Third quartile.
        rounds: In all, with those of the warm-up.
        is_stable: Whether the quartiles of every engine lie near its median.
    """

    median: float
    low: float
    high: float
    rounds: int
    is_stable: bool


def time_engines(
    runs: Sequence[Callable[[NetworkImage], object]],
    images: Sequence[NetworkImage],
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time what computes slices, until the times are stable.

    In a round each computes all slices once, and each round begins with the next of them, so that what slows the
    machine slows all; the first round is a warm-up. It ends when of each the middle half of the last `ROUNDS` rounds
    lies within `STABLE` of their median, or after `MOST_SECONDS` once there are so many.

    Args:
        runs: What is timed: `run` of each engine.
        images: Slices as networks take them.
        clock: Seconds.
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
    """Milliseconds a slice of each."""
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
