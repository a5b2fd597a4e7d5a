"""Slices smoothed as they stream by, against the whole stack at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.inference.smoothing import MOST_REACH, smoothed


def at_once(stack, sigma):
    reach = min(MOST_REACH, int(np.ceil(2 * sigma)))
    place = np.arange(len(stack))
    weights = np.exp(-0.5 * ((place[:, None] - place) / sigma) ** 2) * (abs(place[:, None] - place) <= reach)
    return np.tensordot(weights / weights.sum(1, keepdims=True), stack, 1)


@given(st.integers(1, 12), st.sampled_from([0.3, 0.5, 0.9, 1.4, 5.0]))
def test_it_is_the_weighted_mean(slices, sigma):
    stack = np.random.default_rng(0).normal(size=(slices, 2, 3, 4)).astype(np.float32)
    found = np.stack(list(smoothed(iter(stack), sigma)))
    np.testing.assert_allclose(found, at_once(stack, sigma), atol=1e-5)


def test_zero_width_is_the_identity():
    stack = list(np.random.default_rng(0).random((5, 2, 3, 4), np.float32))
    assert all(mine is given for mine, given in zip(smoothed(stack, 0.0), stack, strict=True))


def test_few_slices_are_held():
    drawn, left = [], iter(range(30))

    def slices():
        for k in left:
            drawn.append(k)
            yield np.full((1, 1, 1), k, np.float32)

    for number, part in enumerate(smoothed(slices(), 9.0)):
        assert len(drawn) <= number + MOST_REACH + 1
        if 3 <= number < 27:
            assert abs(part.item() - number) < 1e-5  # the mean of what is symmetric about it
