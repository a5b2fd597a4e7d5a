from pathlib import Path

import numpy as np
import pytest

from tests.files.handmade import nifti1
from tomoseg.datasets.cases import Case, mask_loader
from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.nifti import read_geometry
from tomoseg.labels import LabelSet

LABELS = LabelSet.from_names(["liver", "spleen", "aorta"])


@pytest.fixture
def case(tmp_path):
    """A case with masks of the spleen and the aorta, whose files are opened only when they are asked for."""
    for name, values in (("ct", [0, 50, 50]), ("spleen", [0, 1, 0]), ("aorta", [0, 0, 0])):
        (tmp_path / f"{name}.nii").write_bytes(nifti1(np.array(values, np.uint8).reshape(3, 1, 1)))
    masks = {name: tmp_path / f"{name}.nii" for name in ("aorta", "spleen", "tumour")}
    return Case(name="c", patient="p", ct=tmp_path / "ct.nii", masks=masks, annotated=tuple(masks))


@pytest.fixture
def mapped(tmp_path):
    """A case with a label map: 1 and 3 are the liver, 2 the aorta."""
    for name, values in (("ct", [0, 50, 50, 0]), ("labels", [3, 0, 2, 1])):
        (tmp_path / f"{name}.nii").write_bytes(nifti1(np.array(values, np.uint8).reshape(4, 1, 1)))
    values = {"liver": (1, 3), "aorta": (2,)}
    return Case(
        name="c",
        patient="p",
        ct=tmp_path / "ct.nii",
        label_map=tmp_path / "labels.nii",
        annotated=tuple(values),
        label_values=values,
    )


def test_channels_are_those_of_the_label_set_asked_for(case):
    load = mask_loader(case, LABELS, read_geometry(case.ct))
    assert [load(c).ravel().tolist() for c in (2, 1)] == [[False, False, False], [False, True, False]]
    only = LABELS.subset(["aorta"])
    assert mask_loader(case, only, read_geometry(case.ct))(0).tolist() == [[[False]]] * 3


def test_masks_are_read_when_they_are_asked_for(case):
    load = mask_loader(case, LABELS, read_geometry(case.ct))
    case.masks["aorta"].unlink()
    assert load(1).any()
    with pytest.raises(InputError, match="got nothing of that name"):
        load(2)


def test_a_mask_on_another_grid_is_refused(case, tmp_path):
    other = nifti1(np.zeros((4, 1, 1), np.uint8))
    (tmp_path / "spleen.nii").write_bytes(other)
    load = mask_loader(case, LABELS, read_geometry(case.ct))
    with pytest.raises(GridError, match=r"spleen\.nii: expected the grid of .*ct\.nii, got 4 x 1 x 1 voxels, not 3 x"):
        load(1)


def test_a_region_is_the_union_of_its_values(mapped):
    load = mask_loader(mapped, LABELS, read_geometry(mapped.ct))
    assert load(0).ravel().tolist() == [True, False, False, True]
    assert load(2).ravel().tolist() == [False, False, True, False]
    assert load(0).ravel().tolist() == [True, False, False, True]


def test_a_value_without_a_name_is_refused_at_once(mapped):
    grid = read_geometry(Path(mapped.ct))
    Path(mapped.label_map).write_bytes(nifti1(np.array([3, 0, 2, 9], np.uint8).reshape(4, 1, 1)))
    with pytest.raises(LabelError, match=r"labels\.nii: expected a name for every value, got none for 9; name them"):
        mask_loader(mapped, LABELS, grid)


def test_a_label_map_on_another_grid_is_refused_at_once(mapped):
    Path(mapped.label_map).write_bytes(nifti1(np.zeros((4, 1, 2), np.uint8)))
    with pytest.raises(GridError, match=r"labels\.nii: expected the grid of .*ct\.nii, got 4 x 1 x 2 voxels"):
        mask_loader(mapped, LABELS, read_geometry(mapped.ct))
