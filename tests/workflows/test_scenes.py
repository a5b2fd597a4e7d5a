import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.notices import Notice
from tomoseg.volume import Volume
from tomoseg.workflows import scenes
from tomoseg.workflows.scenes import cells_of, scene_of


def _masks(shape, *boxes):
    found = []
    for box in boxes:
        mask = np.zeros(shape, bool)
        mask[box] = True
        found.append(BoxedMask.of(mask))
    return found


@given(st.integers(0, 9), st.integers(1, 12), st.floats(0, 0.8))
def test_every_mask_comes_back_out_of_the_cells(seed, count, share):
    rng = np.random.default_rng(seed)
    masks = rng.random((count, 4, 5, 3)) < rng.random(count)[:, None, None, None] * share
    cells = cells_of([BoxedMask.of(mask) for mask in masks], (4, 5, 3))
    for number, mask in enumerate(masks):
        np.testing.assert_array_equal(cells.mask(number), mask)
    sizes = masks.sum(axis=(1, 2, 3))
    assert all(sorted(inside, key=lambda n: sizes[n]) == list(inside) for inside in cells.table)
    assert cells.values.dtype == (np.uint8 if len(cells.table) <= 256 else np.uint16)


def test_with_too_many_cells_the_smallest_structure_is_kept(monkeypatch):
    monkeypatch.setattr(scenes, "MOST_CELLS", 4)  # three structures, so that nothing else fits
    large, middle, small = np.s_[:], np.s_[:2], np.s_[:1]
    cells = cells_of(_masks((4, 1, 1), large, middle, small), (4, 1, 1))
    assert [cells.table[cell] for cell in cells.values[:, 0, 0]] == [(2,), (1,), (0,), (0,)]
    assert cells.merged == 3  # two voxels of the middle one, then one of the small one


def _volume(shape=(20, 20, 10)):
    return Volume.from_array(np.full(shape, 40, np.int16), np.diag([-2.0, 2.0, 5.0, 1.0]))


def test_what_is_said_of_each_structure():
    labels = LabelSet.from_names(["kidney_left", "kidney_right", "liver", "spleen"])
    boxes = (np.s_[2:4, 2:12, 2:6], np.s_[12:18, 2:12, 2:6], np.s_[0:2, 14:18, 1:9], np.s_[9:10, 9:10, 8:9])
    masks = dict(zip(labels.names, _masks((20, 20, 10), *boxes), strict=True))
    scene = scene_of(_volume(), labels, masks, notices=[Notice("The gantry was tilted.", "tilt")])
    left, right, liver, spleen = scene.entries
    assert left.warnings == right.warnings == ("unlike counterpart",)  # 80 and 240 voxels
    assert liver.warnings == ("border",)
    assert spleen.warnings == ("few voxels",)
    assert (left.measured.volume_ml, left.measured.mean_hu) == (80 * 20 / 1000, 40)
    assert spleen.middle == (9, 9, 8)
    assert scene.reference is None
    assert left.dice is None
    assert str(scene.notices[-1]) == "The gantry was tilted."


def test_the_middle_of_a_ring_is_on_the_ring():
    labels = LabelSet.from_names(["colon"])
    x, y, z = np.indices((20, 20, 10))
    distance = np.hypot(x - 10, y - 10)
    ring = (distance > 4) & (distance < 7) & (z == 5)
    scene = scene_of(_volume(), labels, {"colon": BoxedMask.of(ring)})
    assert ring[scene.entries[0].middle]


def test_dice_against_a_reference():
    labels = LabelSet.from_names(["liver", "spleen", "colon"])
    ours, theirs = _masks((20, 20, 10), np.s_[0:4, 0:1, 0:1], np.s_[2:8, 0:1, 0:1])
    scene = scene_of(_volume(), labels, {"liver": ours, "colon": ours}, {"liver": theirs})
    assert scene.entries[0].dice == pytest.approx(2 * 2 / (4 + 6))
    assert [entry.dice for entry in scene.entries[1:]] == [None, None]  # none without a reference, as in evaluate
    assert scene.reference.mask(0).sum() == 6


def test_a_large_scan_is_shown_at_every_other_voxel(monkeypatch):
    monkeypatch.setattr(scenes, "MOST_VOXELS", 3999)
    labels = LabelSet.from_names(["liver"])
    volume = _volume()
    scene = scene_of(volume, labels, {"liver": _masks((20, 20, 10), np.s_[8:12, 8:12, 4:6])[0]})
    assert scene.hu.shape == (10, 10, 5)
    assert scene.cells.values.shape == (10, 10, 5)
    x, y, z = scene.entries[0].middle
    assert scene.cells.mask(0)[x, y, z]
    np.testing.assert_allclose(scene.affine[:3, 0], 2 * volume.affine[:3, 0])
    np.testing.assert_allclose(scene.affine[:3, 3], volume.affine[:3, 3])
