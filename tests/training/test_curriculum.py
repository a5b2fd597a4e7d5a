"""The schedule and the ranking of slices, against numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.records import CASES, made, record
from tomoseg.config import CurriculumConfig
from tomoseg.errors import DatasetError
from tomoseg.training.curriculum import curriculum_share, easiest_slices

SHARES = st.floats(0, 1, exclude_min=True)


def case(*difficulty):
    return replace(record(shape=(4, 4, len(difficulty)), occurrence={}), difficulty=difficulty)


def chosen(cases, share):
    """The slices of each case that are allowed."""
    return [np.flatnonzero(allowed).tolist() for allowed in easiest_slices(cases, share)]


def test_the_share_by_hand():
    # From 0.3 to 1 over the first half: 0.7 in 0.5.
    shares = [curriculum_share(CurriculumConfig(), progress) for progress in (0, 0.1, 0.25, 0.49)]
    assert shares == pytest.approx([0.3, 0.44, 0.65, 0.986])
    assert [curriculum_share(CurriculumConfig(), progress) for progress in (0.5, 0.7, 1)] == [1, 1, 1]


@given(SHARES, SHARES, st.floats(0, 1), st.floats(0, 1))
def test_the_share_rises_from_its_start_to_exactly_one(start, until, one, other):
    config = CurriculumConfig(start_share=start, until=until)
    low, high = sorted((one, other))
    assert curriculum_share(config, 0) == start
    assert start <= curriculum_share(config, low) <= curriculum_share(config, high) <= 1 + 1e-12
    assert curriculum_share(config, until) == 1


def test_slices_are_ranked_over_all_cases():
    cases = [case(0.1, 0.9, 0.3, 0.5), case(0.2, 0.8)]
    assert chosen(cases, 0.01) == [[0], [0]]  # the second has none of the easiest, but its own easiest
    assert chosen(cases, 1 / 3) == [[0], [0]]  # 2 of 6
    assert chosen(cases, 0.35) == [[0, 2], [0]]  # 2.1 of 6 are three
    assert chosen(cases, 0.8) == [[0, 2, 3], [0, 1]]
    assert chosen(cases, 1) == [[0, 1, 2, 3], [0, 1]]


def test_slices_that_are_equally_hard_come_together():
    assert chosen([case(1.0, 0.5, 0.5), case(0.5, 1.0, 1.0)], 0.2) == [[1, 2], [0]]
    assert chosen([case(0.2, 0.2, 0.4), case(1.0, 1.0)], 0.2) == [[0, 1], [0, 1]]  # a case of empty slices keeps them


@given(CASES, SHARES)
def test_a_slice_is_in_while_fewer_than_the_share_are_easier(cases, share):
    cases = made(cases)
    of_all = [difficulty for each in cases for difficulty in each.difficulty]
    for each, slices in zip(cases, chosen(cases, share), strict=True):
        easier = [sum(other < own for other in of_all) for own in each.difficulty]
        among_all = {k for k, count in enumerate(easier) if count < share * len(of_all)}
        easiest_here = {k for k, own in enumerate(each.difficulty) if own == min(each.difficulty)}
        assert set(slices) == among_all | easiest_here


def test_more_are_allowed_as_the_share_grows(rng):
    cases = [case(*rng.random(n).tolist()) for n in (3, 9, 5)]
    before = [set() for _ in cases]
    for share in np.linspace(0.02, 1, 20).tolist():
        now = [set(slices) for slices in chosen(cases, share)]
        assert all(a <= b for a, b in zip(before, now, strict=True))
        before = now
    assert [len(slices) for slices in before] == [3, 9, 5]


def test_a_dataset_from_before_is_refused():
    cases = [case(0.1), record(), record()]
    with pytest.raises(
        DatasetError,
        match=r"expected the difficulty of each slice, which curriculum\.enabled needs, got none in 2 of 3 training "
        r"cases, such as a; preprocess again, or turn the curriculum off",
    ):
        easiest_slices(cases, 0.5)
