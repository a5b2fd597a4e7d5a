from dataclasses import replace

import numpy as np
import pytest

from tests.checks.bodies import EDGE_MM, body, ellipse
from tomoseg.checks.contrast import find_contrast


def with_rod(spread, seed=1):
    """A rod of 40 mm across and 200 HU in front of the spine, of so much spread, over 60 mm."""
    volume = body("abdomen", levels=10)
    hu = volume.hu.copy()
    rod = ellipse(40, 40, (0, 30))
    hu[rod] = np.random.default_rng(seed).normal(200, spread, (int(rod.sum()), 10))
    return replace(volume, hu=hu), int(rod.sum())


def test_even_and_bright_is_a_vessel():
    volume, across = with_rod(10)
    found = find_contrast(volume)
    assert found.hint == "likely"
    assert found.bright_hu == pytest.approx(200, abs=4)
    # an opening takes the corners of the rod, and the ends of it
    assert 0.5 < found.bright_ml / (across * 10 * EDGE_MM**3 / 1000) <= 1


def test_bone_is_not_even():
    volume, across = with_rod(120)
    found = find_contrast(volume)
    assert found.hint == "not seen"
    assert found.bright_ml < 0.1 * across * 10 * EDGE_MM**3 / 1000  # a piece that is even by chance


def test_nothing_bright():
    assert find_contrast(body("abdomen")).hint == "not seen"
