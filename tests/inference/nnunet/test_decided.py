import numpy as np

from tomoseg.grid import Placement
from tomoseg.inference.decide import GridSlice
from tomoseg.inference.nnunet.decided import ExclusiveSlice, RegionSlice, own_logits
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import unpack

LABELS = LabelSet(tuple(Structure(7 * c + 3, f"s{c}") for c in range(10)))


def slice_of(logits, placement=None, labels=LABELS, kind=ExclusiveSlice, share=0.0):
    """A slice of a scan, of logits of one slice of the grid or of two."""
    low, high = (GridSlice(np.ascontiguousarray(one)) for one in (logits if share else (logits, logits)))
    shape = low.logits.shape[1:]
    placement = placement or Placement((0, 0, 0), (*shape, 1), (*shape, 1))
    edges = (placement.start[0] + placement.extent[0] + 1, placement.start[1] + placement.extent[1] + 1, 1)
    last = LABELS if kind is ExclusiveSlice else np.zeros(len(labels), np.float32)
    return kind(0, (low, low if not share else high, share), placement, edges, labels, last)


def test_each_voxel_has_the_highest_above_0_or_none(rng):
    logits = rng.normal(-1, 1, (10, 5, 6)).astype(np.float32)
    found = slice_of(logits)
    winner = np.where(logits.max(0) > 0, logits.argmax(0) + 1, 0)
    ids = np.array([0, *LABELS.ids])
    assert (found.labels()[:-1, :-1] == ids[winner]).all()
    assert not found.labels()[-1].any()
    masks = unpack(found.masks(), 10)
    assert (masks[:, :-1, :-1] == (winner == np.arange(1, 11)[:, None, None])).all()


def test_a_structure_that_is_not_wanted_still_takes_its_voxels(rng):
    logits = rng.normal(0, 1, (10, 5, 6)).astype(np.float32)
    every = slice_of(logits)
    some = slice_of(logits, labels=LABELS.subset(["s8", "s2"]))
    assert (unpack(some.masks(), 2) == unpack(every.masks(), 10)[[2, 8]]).all()
    assert (some.labels() == np.where(np.isin(every.labels(), [17, 59]), every.labels(), 0)).all()
    assert (some.probabilities() == every.probabilities()[[2, 8]]).all()


def test_probabilities_are_those_of_the_softmax_of_interpolated_logits(rng):
    logits = rng.normal(0, 3, (2, 10, 3, 4)).astype(np.float32)
    placement = Placement((0, 0, 0), (3, 4, 1), (3, 4, 1))
    found = slice_of(logits, placement, share=0.25)
    mixed = 0.75 * logits[0] + 0.25 * logits[1]
    parts = np.exp(np.concatenate([np.zeros((1, 3, 4)), mixed]))
    expected = 255 * parts[1:] / parts.sum(0)
    assert np.abs(found.probabilities()[:, :-1, :-1] - expected).max() <= 0.51
    assert (found.highest_probability()[0] == found.probabilities().max(0)).all()


def test_pixels_take_the_nearest_point_along_an_axis_of_its_own(rng):
    logits = rng.normal(0, 1, (10, 3, 4)).astype(np.float32)
    placement = Placement((0, 0, 0), (7, 4, 1), (3, 4, 1), (True, False, False))
    found = slice_of(logits, placement)
    nearest = logits[:, [0, 0, 1, 1, 1, 2, 2]]
    expected = slice_of(nearest)
    assert (found.labels() == expected.labels()).all()
    assert (found.probabilities() == expected.probabilities()).all()


def test_large_logits_do_not_overflow():
    logits = np.full((10, 2, 2), -900, np.float32)
    logits[3] = 900
    assert (slice_of(logits).probabilities()[3, :2, :2] == 255).all()
    own = own_logits(logits)
    assert np.isfinite(own).all()
    assert (own[3] > 50).all()


def test_own_logits_have_the_sigmoid_of_the_softmax(rng):
    logits = rng.normal(0, 3, (10, 4, 4)).astype(np.float32)
    parts = np.exp(np.concatenate([np.zeros((1, 4, 4)), logits]).astype(float))
    np.testing.assert_allclose(1 / (1 + np.exp(-own_logits(logits))), parts[1:] / parts.sum(0), atol=1e-5)


def test_the_last_region_has_the_voxel_in_a_label_map():
    labels = LabelSet((Structure(2, "whole"), Structure(1, "core"), Structure(3, "centre")))
    logits = np.full((3, 1, 4), -1, np.float32)
    logits[0, 0, :3], logits[1, 0, 1:3], logits[2, 0, 2] = 9, 1, 0.5
    found = slice_of(logits, labels=labels, kind=RegionSlice)
    assert found.labels()[0, :4].tolist() == [2, 1, 3, 0]
    assert unpack(found.masks(), 3)[:, 0, :4].sum(axis=1).tolist() == [3, 2, 1]
