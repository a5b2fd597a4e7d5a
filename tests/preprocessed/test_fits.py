import re

import numpy as np
import pytest

from tests.training.tiny import LABELS, NATIVE, make_dataset, make_shuffled
from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError
from tomoseg.masks import unpack
from tomoseg.preprocessed.fits import fitted


def test_a_dataset_in_the_model_s_order_is_taken_as_it_is(tmp_path):
    data = make_dataset(tmp_path)
    assert LABELS.names == ("ball", "cube", "both")
    assert fitted(("ball", "cube", "both"), NATIVE, data) is data


def test_structures_of_another_order_are_brought_to_the_model_s(tmp_path):
    grid = GridConfig(mode="spacing", spacing_mm=2.0, crop="none")
    first = make_dataset(tmp_path / "first", grid)
    other = make_shuffled(tmp_path / "other", (2, 0, 1), grid)
    assert other.labels.names == ("both", "ball", "cube")
    found = fitted(LABELS.names, grid, other)
    assert found.labels == LABELS
    assert found.grid == first.grid
    for one, as_it_was, same in zip(found.cases, other.cases, first.cases, strict=True):
        for key in ("annotated", "occurrence", "voxels", "ceiling", "placement", "difficulty"):
            assert getattr(one.record, key) == getattr(same.record, key)
        np.testing.assert_array_equal(one.masks(), same.masks())
        np.testing.assert_array_equal(one.masks_slice(3), same.masks_slice(3))
        np.testing.assert_array_equal(one.masks_block(2, 5), same.masks_block(2, 5))
        np.testing.assert_array_equal(unpack(one.masks(), 3)[[2, 0, 1]], unpack(as_it_was.masks(), 3))
        if one.split != "train":
            np.testing.assert_array_equal(one.native_masks_slice(3), same.native_masks_slice(3))
            assert one.native_masks_slice(3).shape != one.masks_slice(3).shape
            one.check()
    assert found.cases[1].name == "b"
    assert found.cases[1].record.annotated == (0, 1)  # not `both`
    moved = found.resplit({"a": "validation"}).cases[0]
    np.testing.assert_array_equal(moved.masks(), first.cases[0].masks())


def test_an_order_upon_an_order(tmp_path):
    first = make_dataset(tmp_path)
    names = ("cube", "both", "ball")
    twice = first.in_order(names).in_order(("both", "ball", "cube"))
    once = first.in_order(("both", "ball", "cube"))
    np.testing.assert_array_equal(twice.cases[0].masks(), once.cases[0].masks())
    assert twice.cases[1].record.annotated == once.cases[1].record.annotated == (1, 2)
    back = twice.in_order(LABELS.names)
    np.testing.assert_array_equal(back.cases[0].masks(), first.cases[0].masks())


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("ball", "cube", "cone"), "the model's 3 structures, got 3: lacking cone, and besides both;"),
        (("ball", "cube"), "the model's 2 structures, got 3: besides both;"),
        (("both", "cube", "ball", "cone"), "the model's 4 structures, got 3: lacking cone;"),
        (tuple("abcde"), "the model's 5 structures, got 3: lacking a, b, c, d, ..., and besides ball, cube, both;"),
    ],
)
def test_other_structures_are_refused_by_name(tmp_path, names, told):
    with pytest.raises(DatasetError, match=re.escape(told)):
        fitted(names, NATIVE, make_dataset(tmp_path))


def test_the_grid_must_be_the_model_s(tmp_path):
    with pytest.raises(DatasetError, match=r"expected the model's grid .*'spacing'"):
        fitted(LABELS.names, GridConfig(mode="spacing"), make_dataset(tmp_path))
