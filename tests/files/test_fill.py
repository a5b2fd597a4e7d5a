"""Pixels within contours: against what they were drawn around, Matplotlib's rule of filling, and numbers by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Line
from scipy import ndimage

from tomoseg.files.contours import contours
from tomoseg.files.fill import filled


def square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], float)


@pytest.mark.parametrize("smooth", [0.1, 0.6, 1.5])
def test_contours_of_a_mask_give_it_back(rng, smooth):
    for _ in range(20):
        values = ndimage.gaussian_filter(rng.random((23, 17)), smooth)
        mask = values > np.quantile(values, 0.5)  # with holes, and islands in them
        np.testing.assert_array_equal(filled(contours(mask), mask.shape), mask)


@given(st.integers(0, 10_000))
def test_as_matplotlib_fills(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(9)) * 2 * np.pi
    radius = rng.uniform(3, 9, 9)
    line = np.stack([10.3 + radius * np.cos(angles), 8.7 + radius * np.sin(angles)], axis=1)
    centres = np.stack(np.meshgrid(np.arange(20), np.arange(18), indexing="ij"), -1).reshape(-1, 2)
    ring = Line(np.vstack([line, line[:1]]))
    ways = np.linalg.norm(centres[:, None] - ring.interpolated(500).vertices, axis=2).min(axis=1)
    clear = (ways > 0.03).reshape(20, 18)  # what is nearer may be on the line
    np.testing.assert_array_equal(filled([line], (20, 18))[clear], ring.contains_points(centres).reshape(20, 18)[clear])


def test_pixels_on_the_line_are_in():
    assert filled([square(1, 3)], (5, 5)).astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    assert np.argwhere(filled([np.array([[2.0, 1.0]])], (5, 5))).tolist() == [[2, 1]]
    assert np.argwhere(filled([np.array([[1.0, 1.0], [3.0, 1.0]])], (5, 5))).tolist() == [[1, 1], [2, 1], [3, 1]]


def test_a_contour_within_another_is_a_hole_and_one_in_the_hole_an_island():
    rings = [square(0.5, 7.5), square(1.5, 6.5), square(2.5, 5.5)]
    for order in ([0, 1, 2], [2, 0, 1]):
        mask = filled([rings[one] for one in order], (9, 9))
        assert mask[4].astype(int).tolist() == [0, 1, 0, 1, 1, 1, 0, 1, 0]


def test_contours_that_cross_are_added_unless_exclusive():
    both = [square(0.5, 3.5), square(2.5, 5.5)]
    assert filled(both, (7, 7)).sum() == 9 + 9 - 1
    assert filled(both, (7, 7), exclusive=True).sum() == 9 + 9 - 2
    assert filled([both[0], both[0]], (7, 7)).sum() == 9  # once, however often it is given


def test_the_channel_of_a_keyhole_leaves_nothing_even_through_centres():
    outer = [[0.5, 0.5], [0.5, 3.0], [0.5, 5.5], [5.5, 5.5], [5.5, 0.5]]
    hole = [[1.5, 3.0], [1.5, 1.5], [4.5, 1.5], [4.5, 4.5], [1.5, 4.5], [1.5, 3.0]]
    line = np.array([*outer[:2], *hole, *outer[1:]])
    expected = np.zeros((7, 7), bool)
    expected[1:6, 1:6] = True
    expected[2:5, 2:5] = False
    np.testing.assert_array_equal(filled([line], (7, 7)), expected)


def test_what_lies_beyond_the_slice_is_left_out():
    assert filled([square(-9.5, 9.5)], (3, 4)).all()
    assert not filled([square(20, 30)], (3, 4)).any()
    assert not filled([], (3, 4)).any()
