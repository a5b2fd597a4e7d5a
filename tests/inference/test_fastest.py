"""Whether half precision pays: by a clock of our own, and measured once."""

import pytest

from tomoseg.cache import Cache
from tomoseg.inference import fastest
from tomoseg.inference.fastest import gain_of, half_pays


class Clock:
    """Time that passes only when something is computed."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def taking(self, *seconds):
        """Something that takes so long, call by call, and its last number ever after."""
        left = list(seconds)

        def run():
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_gain_is_of_the_best_calls_after_the_first():
    clock = Clock()
    plain, half = clock.taking(0.001, 9, 6, 8), clock.taking(50, 5, 3, 4)
    assert gain_of(plain, half, clock) == pytest.approx(6 / 3)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setattr(Cache, "folder", tmp_path / "precision")


@pytest.mark.parametrize(("gain", "pays"), [(0.85, False), (1.1, False), (1.15, True), (3.0, True)])
@pytest.mark.usefixtures("empty")
def test_only_a_gain_that_is_worth_it(gain, pays, monkeypatch):
    monkeypatch.setattr(fastest, "gain_of", lambda plain, half: gain)
    assert half_pays("a way", print, print) is pays


@pytest.mark.usefixtures("empty")
def test_measured_once_for_each_way_of_computing(monkeypatch):
    measured = []
    monkeypatch.setattr(fastest, "gain_of", lambda plain, half: measured.append(1) or 2.0)
    assert [half_pays(way, print, print) for way in ("one", "one", "two", "one")] == [True] * 4
    assert len(measured) == 2
    monkeypatch.setattr(fastest, "_processor", lambda: "another")
    half_pays("one", print, print)
    assert len(measured) == 3
