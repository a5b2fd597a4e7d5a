import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.path import Path
from scipy import ndimage

from tomoseg.files.contours import contours

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))
RING = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)


def filled(lines, shape):
    """The pixels whose centres lie within any of the lines, by Matplotlib."""
    centres = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 2)
    mask = np.zeros(shape, bool)
    for line in lines:
        mask |= Path(np.vstack([line, line[:1]])).contains_points(centres).reshape(shape)
    return mask


def by_even_odd(line, shape):
    """The same by counting the edges that a ray to the right crosses."""
    mask = np.zeros(shape, bool)
    for i, j in np.ndindex(shape):
        crossed = 0
        for (x1, y1), (x2, y2) in zip(line, np.roll(line, -1, axis=0), strict=True):
            if (y1 > j) != (y2 > j) and i < x1 + (j - y1) * (x2 - x1) / (y2 - y1):
                crossed += 1
        mask[i, j] = crossed % 2
    return mask


@given(MASKS)
def test_filling_gives_the_mask_back(mask):
    np.testing.assert_array_equal(filled(contours(mask), mask.shape), mask)


@given(MASKS)
def test_any_rule_of_filling_gives_the_mask_back(mask):
    found = np.zeros(mask.shape, bool)
    for line in contours(mask):
        found |= by_even_odd(line, mask.shape)
    np.testing.assert_array_equal(found, mask)


@given(MASKS)
def test_each_point_is_half_a_pixel_from_inside_and_from_outside(mask):
    padded = np.pad(mask, 1)
    for line in contours(mask):
        for i, j in line:
            across = (i % 1 == 0.5, j % 1 == 0.5)
            assert sorted(across) == [False, True]
            low = (int(np.floor(i)) + 1, int(np.floor(j)) + 1)
            high = (low[0] + across[0], low[1] + across[1])
            assert padded[low] != padded[high]


def test_a_hole_and_an_island_in_it():
    outer, island = sorted(contours(RING), key=len, reverse=True)
    assert not filled([outer], RING.shape)[1:4, 1:4].any()
    assert filled([outer], RING.shape).sum() == 16
    np.testing.assert_array_equal(np.argwhere(filled([island], RING.shape)), [[2, 2]])


def test_straight_sides_have_no_points_in_between():
    (line,) = contours(np.ones((40, 30), bool))
    assert len(line) == 8


def test_nothing():
    assert contours(np.zeros((3, 4), bool)) == []


@pytest.mark.parametrize("radius_px", [3.2, 11.7])
def test_a_disc_with_holes(radius_px):
    i, j = np.mgrid[:31, :31]
    mask = np.hypot(i - 15, j - 15) <= radius_px
    for place in ((14, 14), (16, 17), (13, 17)):
        mask[place] = False
    lines = contours(mask)
    assert len(lines) == ndimage.label(mask)[1]
    np.testing.assert_array_equal(filled(lines, mask.shape), mask)
