import re

import numpy as np
import pytest

from tests.training.tiny import LABELS, NATIVE, make_dataset, make_shuffled
from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError
from tomoseg.labels import LabelSet
from tomoseg.masks import unpack
from tomoseg.preprocessed.fits import fitted, fitted_in_part


def ordered(names):
    return LabelSet(tuple(LABELS[name] for name in names))


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
    twice = first.with_structures(ordered(names)).with_structures(ordered(("both", "ball", "cube")))
    once = first.with_structures(ordered(("both", "ball", "cube")))
    np.testing.assert_array_equal(twice.cases[0].masks(), once.cases[0].masks())
    assert twice.cases[1].record.annotated == once.cases[1].record.annotated == (1, 2)
    back = twice.with_structures(LABELS)
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


def test_what_a_dataset_lacks_is_unknown_and_not_absent_and_what_else_it_has_is_left_out(tmp_path):
    data = make_dataset(tmp_path)
    heart = LabelSet.total().subset(["heart"]).structures
    wanted = LabelSet((*heart, LABELS["cube"], LABELS["ball"]))
    found = fitted_in_part(wanted, NATIVE, data)
    assert found.labels == wanted
    for one, as_it_was in zip(found.cases, data.cases, strict=True):
        assert one.record.annotated == (1, 2)
        assert one.record.voxels == {1: as_it_was.record.voxels[1], 2: as_it_was.record.voxels[0]}
        ball, cube, _ = unpack(as_it_was.masks(), 3)
        heart_mask, *others = unpack(one.masks(), 3)
        assert not heart_mask.any()
        np.testing.assert_array_equal(others, [cube, ball])
    twice = found.with_structures(LabelSet((LABELS["ball"], *wanted.structures[:1])))
    assert twice.cases[0].record.annotated == (0,)
    np.testing.assert_array_equal(unpack(twice.cases[0].masks(), 2)[0], unpack(data.cases[0].masks(), 3)[0])
    assert fitted_in_part(LABELS, NATIVE, data) is data


def test_a_dataset_without_any_of_the_model_s_structures_is_refused(tmp_path):
    told = r"expected structures of the model \(spleen, kidney_right, .*\), got others: ball, cube, both; preprocess a"
    with pytest.raises(DatasetError, match=told):
        fitted_in_part(LabelSet.total(), NATIVE, make_dataset(tmp_path))
    with pytest.raises(DatasetError, match="expected the model's grid"):
        fitted_in_part(LABELS.subset(["ball"]), GridConfig(mode="spacing"), make_dataset(tmp_path / "other"))


def test_the_grid_must_be_the_model_s(tmp_path):
    with pytest.raises(DatasetError, match=r"expected the model's grid, with mode spacing.*, got mode native"):
        fitted(LABELS.names, GridConfig(mode="spacing"), make_dataset(tmp_path))
