"""Measurements by hand and against NumPy on whole masks."""

import numpy as np
import pytest

from tomoseg.evaluation.measure import NOT_FOUND, measure
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import pack
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import Volume

LABELS = LabelSet(tuple(Structure(3 * c + 2, f"s{c}") for c in range(11)))


def both(masks, volume):
    """The same masks, which do not overlap, as both kinds of result."""
    values = np.zeros(volume.shape, np.uint8)
    for channel, mask in enumerate(masks):
        values[mask] = LABELS.ids[channel]
    packed = Segmentation.from_packed(pack(masks), LABELS, volume.source)
    return packed, LabelMap(values, LABELS, volume.source)


def test_by_hand():
    hu = np.zeros((4, 5, 6), np.int16)
    hu[1, 2, 3], hu[2, 2, 3], hu[2, 2, 4] = 10, 20, 60
    affine = np.diag([2.0, 1.0, 5.0, 1.0])
    affine[:3, 3] = (-100, 7, 50)
    volume = Volume.from_array(hu, affine)
    masks = np.zeros((11, 4, 5, 6), bool)
    masks[0] = hu > 0
    masks[9, 0, 0, 0] = True
    for result in both(masks, volume):
        found = measure(result, volume)
        assert [m.structure for m in found] == list(LABELS.names)
        first, single, none = found[0], found[9], found[5]
        assert first.volume_ml == pytest.approx(3 * 10 / 1000)
        assert (first.mean_hu, first.median_hu) == (30, 20)
        assert first.std_hu == pytest.approx(np.sqrt((400 + 100 + 900) / 2))
        assert first.centroid_mm == pytest.approx((-100 + 2 * 5 / 3, 9, 50 + 5 * 10 / 3))
        assert (first.touches_border, first.reason) == (False, None)
        assert (single.volume_ml, single.std_hu, single.touches_border) == (pytest.approx(0.01), None, True)
        assert single.reason == "one voxel has no standard deviation"
        assert none.reason == NOT_FOUND
        assert {none.volume_ml, none.mean_hu, none.centroid_mm, none.touches_border} == {None}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_every_face_is_border(axis, end):
    volume = Volume.from_array(np.zeros((5, 6, 7), np.int16), np.eye(4))
    masks = np.zeros((11, 5, 6, 7), bool)
    masks[3, 2, 3, 3] = masks[4, 2, 3, 3] = True
    np.moveaxis(masks[4], axis, 0)[end, 2, 2] = True
    masks[3] &= ~masks[4]
    masks[3, 1:3, 2:4, 2:5] = ~masks[4, 1:3, 2:4, 2:5]
    for result in both(masks, volume):
        found = measure(result, volume)
        assert (found[3].touches_border, found[4].touches_border) == (False, True)


def test_against_whole_masks():
    rng = np.random.default_rng(0)
    volume = Volume.from_array(rng.integers(-900, 900, (9, 8, 19)).astype(np.int16), np.diag([-1.5, 2, 3, 1]))
    masks = rng.integers(0, 11, volume.shape)[None] == np.arange(11)[:, None, None, None]
    for result in both(masks, volume):
        for channel, found in enumerate(measure(result, volume)):
            values = volume.hu[masks[channel]]
            assert found.mean_hu == pytest.approx(values.mean())
            assert found.median_hu == pytest.approx(np.median(values))
            assert found.std_hu == pytest.approx(np.std(values, ddof=1))
            assert found.volume_ml == pytest.approx(values.size * 9 / 1000)
            place = volume.affine @ [*np.argwhere(masks[channel]).mean(axis=0), 1]
            assert found.centroid_mm == pytest.approx(tuple(place[:3]))
