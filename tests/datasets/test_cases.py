from pathlib import Path

import numpy as np
import pytest

from tests.files.handmade import nifti1
from tomoseg.datasets.cases import Case, read_case_masks
from tomoseg.errors import GridError, InputError
from tomoseg.files.nifti import read_geometry
from tomoseg.labels import LabelSet

LABELS = LabelSet.from_names(["liver", "spleen", "aorta"])


@pytest.fixture
def case(tmp_path):
    """A case with masks of the spleen and the aorta, whose files are opened only when they are asked for."""
    for name, values in (("ct", [0, 50, 50]), ("spleen", [0, 1, 0]), ("aorta", [0, 0, 0])):
        (tmp_path / f"{name}.nii").write_bytes(nifti1(np.array(values, np.uint8).reshape(3, 1, 1)))
    masks = {name: tmp_path / f"{name}.nii" for name in ("aorta", "spleen", "tumour")}
    return Case("c", tmp_path / "ct.nii", masks, None, tuple(masks), {}, None, "p")


def test_channels_are_those_of_the_label_set_asked_for(case):
    found = [(c, mask.ravel().tolist()) for c, mask in read_case_masks(case, LABELS, read_geometry(case.ct))]
    assert found == [(1, [False, True, False]), (2, [False, False, False])]
    only = LABELS.subset(["aorta"])
    assert [channel for channel, _ in read_case_masks(case, only, read_geometry(case.ct))] == [0]


def test_masks_are_read_one_at_a_time(case):
    masks = read_case_masks(case, LABELS, read_geometry(case.ct))
    next(masks)
    case.masks["aorta"].unlink()
    with pytest.raises(InputError, match="got nothing of that name"):
        next(masks)


def test_a_mask_on_another_grid_is_refused(case, tmp_path):
    other = nifti1(np.zeros((4, 1, 1), np.uint8))
    (tmp_path / "spleen.nii").write_bytes(other)
    with pytest.raises(GridError, match=r"ct\.nii has \(3, 1, 1\) voxels .*spleen\.nii has \(4, 1, 1\)"):
        list(read_case_masks(case, LABELS, read_geometry(case.ct)))


def test_a_case_without_either_has_no_masks(case):
    bare = Case("c", case.ct, None, None, (), {}, None, "p")
    assert list(read_case_masks(bare, LABELS, read_geometry(Path(case.ct)))) == []
