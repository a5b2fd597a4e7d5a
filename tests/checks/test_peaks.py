"""Peaks against SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from tomoseg.checks.peaks import find_peaks


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 20))
def test_the_same_as_scipy(values, distance):
    histogram = np.array(values, float)
    expected, _ = signal.find_peaks(histogram, distance=distance)
    np.testing.assert_array_equal(find_peaks(histogram, distance), expected)


@pytest.mark.parametrize("values", [[1.0], [1, 2], [2, 2, 2], [3, 2, 1], [1, 2, 3, 3]])
def test_no_peak_at_an_end(values):
    assert find_peaks(np.array(values, float), 1).size == 0
