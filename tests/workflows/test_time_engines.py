"""Timing on a clock that stands still but for what engines take of it."""

import numpy as np
import pytest

from tomoseg.workflows import time_engines as timing
from tomoseg.workflows.time_engines import time_engines

IMAGES = [np.zeros((1, 1, 2, 2), np.float32)] * 2


class Clock:
    def __init__(self):
        self.now = 0.0
        self.runs = []

    def __call__(self):
        return self.now

    def engine(self, name, seconds):
        """An engine that takes the next of these seconds for a slice, and the last one for ever."""
        left = list(seconds)

        def run(image):
            self.runs.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_a_cold_run_does_not_count_and_engines_take_turns():
    clock = Clock()
    slow = clock.engine("a", [32.4, 0.1])  # the first slice compiles
    fast = clock.engine("b", [0.01])
    found = time_engines([slow, fast], IMAGES, clock)
    assert [(one.median, one.low, one.high) for one in found] == [pytest.approx((ms, ms, ms)) for ms in (100, 10)]
    assert [(one.rounds, one.is_stable) for one in found] == [(6, True)] * 2
    assert "".join(clock.runs) == 3 * "aabbbbaa"


def test_it_goes_on_until_the_last_rounds_agree():
    clock = Clock()
    warming = clock.engine("a", [second for step in (0.9, 0.7, 0.5, 0.3, 0.2) for second in (step, step)] + [0.1])
    (found,) = time_engines([warming], IMAGES, clock)
    # After five slower rounds four of 0.1: of the last five one is of 0.2, which is out of the middle half.
    assert (found.median, found.low, found.high) == pytest.approx((100, 100, 100))
    assert (found.rounds, found.is_stable) == (9, True)


def test_what_never_agrees_ends_at_the_limit_and_is_said(monkeypatch):
    monkeypatch.setattr(timing, "MOST_SECONDS", 9.0)
    clock = Clock()
    noisy = clock.engine("a", [0.1, 0.1, 0.9, 0.9] * 100)
    steady = clock.engine("b", [0.01])
    found, other = time_engines([noisy, steady], IMAGES, clock)
    assert clock.now == pytest.approx(9, abs=2)
    assert not found.is_stable
    assert found.high - found.low > 0.1 * found.median
    assert other.is_stable


def test_however_slow_so_many_rounds_are_done(monkeypatch):
    monkeypatch.setattr(timing, "MOST_SECONDS", 9.0)
    clock = Clock()
    (found,) = time_engines([clock.engine("a", [3.0])], IMAGES, clock)
    assert (found.median, found.rounds, found.is_stable) == (pytest.approx(3000), 6, True)  # with the warm-up
