"""Overlap against counts by hand and against plain boolean arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.errors import InputError
from tomoseg.evaluation.overlap import OverlapCounter, count_bits
from tomoseg.labels import LabelSet
from tomoseg.masks import pack


def labels(count):
    return LabelSet.from_names([f"s{c}" for c in range(count)])


def scored(predicted, reference, annotated=None, voxel_ml=1.0):
    """Scores by name, of boolean `(c, x, y, z)`, counted slice by slice."""
    counter = OverlapCounter(len(predicted))
    for k in range(predicted.shape[-1]):
        counter.add(pack(predicted[..., k]), pack(reference[..., k]))
    annotated = range(len(predicted)) if annotated is None else annotated
    return {s.structure: s for s in counter.scores(labels(len(predicted)), tuple(annotated), voxel_ml)}


def cube(*start, edge=2, size=6):
    mask = np.zeros((1, size, size, size), bool)
    x, y, z = (slice(s, s + edge) for s in start)
    mask[0, x, y, z] = True
    return mask


def test_count_bits_by_hand():
    # Bytes 1 = bit 0, 3 = bits 0 and 1, 128 = bit 7; the second plane holds structures 8 and up.
    packed = np.array([[[1, 3], [128, 0]], [[2, 2], [2, 1]]], np.uint8)
    assert count_bits(packed, 10).tolist() == [2, 1, 0, 0, 0, 0, 0, 1, 1, 3]
    assert count_bits(np.zeros((2, 5), np.uint8), 9).tolist() == [0] * 9


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_count_bits_is_the_sum_of_masks(structures, seed):
    masks = np.random.default_rng(seed).random((structures, 3, 4, 2)) < 0.5
    assert count_bits(pack(masks), structures).tolist() == masks.sum(axis=(1, 2, 3)).tolist()


def test_cubes_by_hand():
    # Cubes of 8 voxels. Shifted by one voxel along one axis they share 4, along two 2, along three 1.
    for shift, shared in (((0, 0, 0), 8), ((1, 0, 0), 4), ((0, 1, 1), 2), ((1, 1, 1), 1), ((2, 0, 0), 0)):
        score = scored(cube(*(1 + s for s in shift)), cube(1, 1, 1))["s0"]
        assert score.dice == shared / 8
        assert score.value("iou") == shared / (16 - shared)
    # A cube of edge 4 around one of edge 2: Dice 2 * 8 / (64 + 8), IoU 8 / 64.
    score = scored(cube(1, 1, 1, edge=4), cube(2, 2, 2))["s0"]
    assert score.dice == pytest.approx(16 / 72)
    assert score.value("iou") == 1 / 8


def test_volumes_and_false_positives():
    masks = np.concatenate([cube(1, 1, 1), cube(0, 0, 0, edge=3), cube(0, 0, 0, edge=0)])
    reference = np.concatenate([cube(1, 1, 2), cube(0, 0, 0, edge=0), cube(0, 0, 0, edge=0)])
    found = scored(masks, reference, voxel_ml=0.25)
    assert (found["s0"].reference_ml, found["s0"].predicted_ml, found["s0"].false_positive_ml) == (2, 2, None)
    absent = found["s1"]
    assert (absent.dice, absent.value("iou"), absent.reference_ml, absent.predicted_ml) == (None, None, 0, 6.75)
    assert absent.false_positive_ml == 6.75
    assert (found["s2"].dice, found["s2"].false_positive_ml) == (None, 0)


def test_missed_is_zero_and_what_is_not_annotated_has_no_entry():
    reference = np.concatenate([cube(1, 1, 1)] * 3)
    found = scored(np.zeros_like(reference), reference, annotated=(2, 0))
    assert list(found) == ["s0", "s2"]
    assert (found["s0"].dice, found["s0"].value("iou")) == (0, 0)


@given(st.integers(1, 18), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_scores_are_those_of_boolean_arithmetic(structures, seed, density):
    rng = np.random.default_rng(seed)
    predicted, reference = rng.random((2, structures, 4, 3, 5)) < density * rng.random((1, structures, 1, 1, 1))
    for channel, score in enumerate(scored(predicted, reference).values()):
        a, b = predicted[channel], reference[channel]
        if not b.any():
            assert score.dice is score.value("iou") is None
            assert score.false_positive_ml == np.count_nonzero(a)
            continue
        assert score.dice == pytest.approx(2 * np.logical_and(a, b).sum() / (a.sum() + b.sum()))
        assert score.value("iou") == pytest.approx(np.logical_and(a, b).sum() / np.logical_or(a, b).sum())
        assert score.value("iou") == pytest.approx(score.dice / (2 - score.dice))
        assert 0 <= score.value("iou") <= score.dice <= 1


def test_bytes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="expected 2 bytes per voxel for 9 structures, got 1"):
        OverlapCounter(9).add(np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 2), np.uint8))
