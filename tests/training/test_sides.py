"""Mirror images to train on: hand-made slices, all views, and which label sets have them."""

import numpy as np
import pytest

from tests.training.tiny import NATIVE, SHAPE, add_case, finish, make_config, make_scan
from tomoseg.config import AugmentationConfig
from tomoseg.errors import ConfigError
from tomoseg.labels import LabelSet
from tomoseg.masks import pack, unpack
from tomoseg.training.build import build_run
from tomoseg.training.sampling import Draw
from tomoseg.training.sides import Sides, sides_of
from tomoseg.training.slices import DrawnSlices
from tomoseg.views import left_right_axis

ORDER = (1, 0, 2)
"""Left, right, and one in the middle."""


def test_a_slice_by_hand():
    hu = np.array([[[1, 2], [3, 4], [5, 6]]], np.int16)  # one slice of three columns from right to left
    masks = np.zeros((3, 3, 2), bool)
    masks[0, 0, 1] = masks[1, 2, 0] = masks[2, 1] = True
    annotated = np.array([True, False, True])
    seen, packed, there = Sides(ORDER, axis=0).exchange(hu, pack(masks), annotated)
    assert seen.tolist() == [[[5, 6], [3, 4], [1, 2]]]
    assert there.tolist() == [False, True, True]
    left, right, middle = unpack(packed, 3)
    assert np.argwhere(left).tolist() == [[0, 0]]  # was the right one, in the last column
    assert np.argwhere(right).tolist() == [[2, 1]]
    assert np.argwhere(middle).tolist() == [[1, 0], [1, 1]]


def test_sagittal_slices_have_their_neighbours_from_the_other_side():
    hu = np.arange(3 * 2 * 2, dtype=np.int16).reshape(3, 2, 2)
    masks = np.random.default_rng(0).random((3, 2, 2)) < 0.5
    seen, packed, _ = Sides(ORDER, left_right_axis("sagittal")).exchange(hu, pack(masks), np.ones(3, bool))
    assert np.array_equal(seen, hu[::-1])
    assert np.array_equal(unpack(packed, 3), masks[[1, 0, 2]])
    alone, *_ = Sides(ORDER, left_right_axis("sagittal")).exchange(hu[:1], pack(masks), np.ones(3, bool))
    assert alone.flags.c_contiguous
    assert min(alone.strides) > 0  # as torch needs them


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_a_block_is_turned_along_the_axis_between_left_and_right_and_twice_is_as_before(view):
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1000, (1, 4, 5, 6)).astype(np.int16)
    masks, annotated = rng.random((3, 4, 5, 6)) < 0.5, np.array([True, False, True])
    axis = {"axial": 0, "coronal": 0, "sagittal": 2}[view]
    sides = Sides(ORDER, left_right_axis(view))
    once = sides.exchange(hu, pack(masks), annotated)
    assert np.array_equal(once[0], np.flip(hu, 1 + axis))
    assert np.array_equal(unpack(once[1], 3), np.flip(masks, 1 + axis)[[1, 0, 2]])
    for found, expected in zip(sides.exchange(*once), (hu, pack(masks), annotated), strict=True):
        assert np.array_equal(found, expected)


def test_so_many_slices_as_asked_for_are_mirrored_always_the_same():
    keys = [(7, epoch, number) for epoch in range(4) for number in range(250)]
    drawn = [Sides(ORDER, 0, 0.3).drawn(key) for key in keys]
    assert 0.25 < np.mean(drawn) < 0.35
    assert drawn == [Sides(ORDER, 0, 0.3).drawn(key) for key in keys]
    assert not any(Sides(ORDER, 0, 0.0).drawn(key) for key in keys)


PAIRED = LabelSet.from_names(["ball_left", "ball_right", "middle"])


def test_slices_that_are_drawn_are_the_mirror_images_of_those_that_are_read(tmp_path):
    hu, masks = make_scan(3)
    add_case(tmp_path, "a", hu, masks, annotated=(0, 2))
    cases = finish(tmp_path, {"a": "train"}, PAIRED).cases
    size = SHAPE[:2]
    plain = DrawnSlices(cases, 3, size, reach=1)[Draw(0, 4, (0, 0, 0))]
    turned = DrawnSlices(cases, 3, size, reach=1, sides=Sides(PAIRED.exchanged(), 0, 1.0))[Draw(0, 4, (0, 0, 0))]
    assert plain.annotated[0].tolist() == [True, False, True]
    assert turned.annotated[0].tolist() == [False, True, True]
    assert np.array_equal(turned.hu[0], plain.hu[0].flip(1))
    before, after = (unpack(batch.packed[0].numpy(), 3) for batch in (plain, turned))
    assert np.array_equal(after, before[[1, 0, 2], ::-1])
    assert before[0].any()


def config(share=None, enabled=True):
    return make_config(augmentation=AugmentationConfig(exchange_sides=share, enabled=enabled))


def test_on_where_every_structure_is_one_of_a_pair():
    assert sides_of(LabelSet.from_names(["ball_left", "ball_right"]), "coronal", config()) == Sides((1, 0), 0, 0.5)
    assert sides_of(PAIRED, "coronal", config()) is None  # what lies in the middle may lie a little to one side
    assert sides_of(PAIRED, "coronal", config(0.5)) == Sides((1, 0, 2), 0, 0.5)
    assert sides_of(PAIRED, "sagittal", config(0.2)) == Sides((1, 0, 2), 2, 0.2)
    assert sides_of(PAIRED, "axial", config(0.0)) is None
    assert sides_of(PAIRED, "axial", config(0.5, enabled=False)) is None
    assert sides_of(LabelSet.total(), "axial", config()) is None  # the right lung alone has a middle lobe
    with pytest.raises(
        ConfigError, match=r"exchange_sides: expected a counterpart .* got none for lung_middle_lobe_right"
    ):
        sides_of(LabelSet.total(), "axial", config(0.5))


def test_training_reads_mirror_images(tmp_path):
    hu, masks = make_scan(3)
    add_case(tmp_path, "a", hu, masks, NATIVE)
    data = finish(tmp_path, {"a": "train"}, PAIRED)
    run = build_run(data, config(0.5))
    assert run.loader._loader.dataset.sides == Sides((1, 0, 2), 0, 0.5)
