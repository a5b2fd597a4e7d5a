"""Difficulty of slices, against counts by hand and scipy's erosion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_erosion, generate_binary_structure

from tests.preprocessed.scans import make_case
from tomoseg.config import GridConfig
from tomoseg.masks import BoxedMask
from tomoseg.preprocessed.difficulty import rim_shares, slice_difficulties
from tomoseg.preprocessed.format import CASE_RECORD, CaseRecord
from tomoseg.preprocessed.write import write_case

# Rows are x, columns y; '#' is A alone, 'o' is B alone, '@' is both.
LARGE = """
    ........
    .#####..
    .#####..
    .#####..
    .#####o.
    ........"""
SMALL = """
    #.#.....
    ........
    ...##...
    ...##...
    ........
    #.....@o"""
NOTHING = LARGE.replace("#", ".").replace("o", ".")


def drawn(letters):
    """The pixels of the three slices that have one of these letters, `(6, 8, 3)`."""
    rows = [[list(line.strip()) for line in text.split()] for text in (LARGE, SMALL, NOTHING)]
    return np.isin(np.array(rows), list(letters)).transpose(1, 2, 0)


def test_rim_shares_by_hand():
    # A: 4 x 5 pixels, of which 2 x 3 have four neighbours inside; then 8 pixels, each at a border or at the picture's.
    assert rim_shares(BoxedMask.of(drawn("#@"))).tolist() == [pytest.approx(14 / 20), 1, 0]
    assert rim_shares(BoxedMask.of(drawn("o@"))).tolist() == [1, 1, 0]
    assert rim_shares(BoxedMask.of(drawn("x"))).tolist() == [0, 0, 0]


def test_difficulty_by_hand():
    shares = [rim_shares(BoxedMask.of(drawn(letters))) for letters in ("#@", "o@", "x")]
    # The mean of A and B where they are; the third, absent, counts nowhere; a slice of nothing is as hard as can be.
    assert slice_difficulties(shares, 3) == (0.85, 1.0, 1.0)
    assert slice_difficulties(shares[:1], 3) == (0.7, 1.0, 1.0)
    assert slice_difficulties([], 2) == (1.0, 1.0)
    assert slice_difficulties([np.array([2 / 3])], 1) == (0.667,)


def test_large_is_easier_than_small_and_whole_is_easier_than_pieces():
    mask = np.zeros((20, 20, 4), bool)
    mask[2:18, 2:18, 0] = True
    mask[2:6, 2:6, 1] = True
    mask[2:18, 2:18:4, 2] = True  # 64 pixels as lines
    mask[6:14, 6:14, 3] = True  # 64 pixels in one piece
    large, small, pieces, whole = slice_difficulties([rim_shares(BoxedMask.of(mask))], 4)
    assert large < whole < small < pieces == 1


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.booleans(), fill=st.just(True)))
def test_rim_shares_are_those_of_an_erosion(mask):
    cross = generate_binary_structure(2, 1)
    expected = []
    for k in range(mask.shape[2]):
        pixels = mask[..., k].sum()
        rim = pixels - binary_erosion(mask[..., k], cross, border_value=0).sum()
        expected.append(rim / pixels if pixels else 0)
    shares = rim_shares(BoxedMask.of(mask))
    np.testing.assert_allclose(shares, expected)
    difficulties = slice_difficulties([shares], mask.shape[2])
    assert all(0 <= difficulty <= 1 for difficulty in difficulties)
    assert [d == 1 for d in difficulties] == [e in (0, 1) for e in expected]


def test_the_record_has_the_difficulty_on_the_networks_grid(tmp_path):
    # Each pixel twice along both axes: the grid of half the size is the drawing.
    masks = {c: drawn(letters).repeat(2, 0).repeat(2, 1) for c, letters in ((0, "#@"), (3, "o@"), (9, "x"))}
    hu = np.zeros((12, 16, 3), np.int16)
    halves = GridConfig(mode="size", size=(6, 8), crop="none")
    record = write_case(make_case(hu, masks, 10), tmp_path, halves, keep_native=False, threads=2)
    assert record.difficulty == (0.85, 1.0, 1.0)
    assert CaseRecord.load(tmp_path / CASE_RECORD) == record
