"""Masks without scans, in every way that they are laid out."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases, resampled
from tomoseg.errors import DatasetError, GridError, InputError, LabelError
from tomoseg.files.itk.seg_nrrd import write_seg_nrrd
from tomoseg.files.itk.write_metaimage import write_metaimage
from tomoseg.files.label_names import label_set_of
from tomoseg.files.nifti import write_nifti
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid

GRID = SourceGrid((4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
VALUES = np.zeros(GRID.shape, np.uint8)
VALUES[1, 2, 3], VALUES[3, 4, 4:] = 1, 2
NAMES = {"1": "liver", "2": "spleen"}


def write(path, values=VALUES, grid=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, values.astype(np.uint8), grid)


def write_masks(folder):
    write(folder / "liver.nii.gz", VALUES == 1)
    write(folder / "spleen.nii.gz", VALUES == 2)


def sidecar(root):
    write(root / "a.nii.gz")
    (root / "a.labels.json").write_text(json.dumps(NAMES))


def shared(root):
    write(root / "a.nii.gz")
    (root / "labels.json").write_text(json.dumps(NAMES))


def above(root):
    write(root.parent / "in" / "a.nii.gz")
    (root.parent / "labels.json").write_text(json.dumps(NAMES))


def nnunet(root):
    write(root / "a.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 2}}))


def mask_folders(root):
    write_masks(root / "a")


def segmentations(root):
    write_masks(root / "a" / "segmentations")
    (root / "a" / "segmentations" / ".DS_Store").touch()


def dataset(root):
    write(root / "a" / "ct.nii.gz", VALUES * 0)
    write_masks(root / "a" / "segmentations")


def label_map_folders(root):
    write(root / "a" / "result.nii.gz")
    (root / "a" / "result.labels.json").write_text(json.dumps(NAMES))


@pytest.mark.parametrize(
    "make", [sidecar, shared, above, nnunet, mask_folders, segmentations, dataset, label_map_folders]
)
def test_every_layout_gives_the_same_masks(tmp_path, make):
    root = tmp_path / "in"
    root.mkdir()
    make(root)
    (case,) = find_mask_cases(root)
    assert (case.name, set(case.annotated), case.patient) == ("a", {"liver", "spleen"}, "a")
    assert (case.ct is not None) == (make is dataset)
    opened = OpenMasks(case)
    assert opened.grid.canonical_shape == GRID.shape
    for value, name in ((1, "liver"), (2, "spleen")):
        assert np.array_equal(opened.mask(name).whole(), value == VALUES)
    assert opened.mask("heart").voxels == 0


def test_one_case_in_the_folder_itself_and_one_file(tmp_path):
    write_masks(tmp_path / "a")
    (case,) = find_mask_cases(tmp_path / "a")
    assert (case.name, case.annotated) == ("a", ("liver", "spleen"))
    write(tmp_path / "total.nii.gz")
    (alone,) = find_mask_cases(tmp_path / "total.nii.gz")
    assert alone.annotated[:2] == ("spleen", "kidney_right")


def test_regions_are_unions(tmp_path):
    write(tmp_path / "a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"both": [1, 2], "spleen": 2, "gone": [7]}}))
    opened = OpenMasks(find_mask_cases(tmp_path)[0])
    assert np.array_equal(opened.mask("both").whole(), VALUES > 0)
    assert opened.mask("gone").voxels == 0


def test_what_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="expected masks, got nothing of that name"):
        find_mask_cases(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"expected masks as <case>.nii.gz .*, got none of them; as a dataset: "):
        find_mask_cases(tmp_path / "empty")
    write(tmp_path / "x.nii.gz")
    with pytest.raises(DatasetError, match=r"expected names for its values, got no labels.json; write"):
        find_mask_cases(tmp_path / "x.nii.gz")
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(DatasetError, match=r"expected masks \(.nii.gz, .seg.nrrd, .nrrd, .mha, .*\), got another"):
        find_mask_cases(tmp_path / "notes.txt")
    (tmp_path / "x.labels.json").write_text('{"1": "liver"}')
    with pytest.raises(LabelError, match="expected a name for every value, got none for 2"):
        OpenMasks(find_mask_cases(tmp_path / "x.nii.gz")[0])


def test_another_grid_is_refused_or_resampled(tmp_path):
    # Half as many voxels of twice the width: each stands for the two that its middle lies between.
    coarse = SourceGrid((2, 5, 6), np.array([[4.0, 0, 0, 1], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]))
    values = np.zeros(coarse.shape, np.uint8)
    values[1, 2, 3] = 1
    write(tmp_path / "a.nii.gz", values, coarse)
    (tmp_path / "a.labels.json").write_text('{"1": "liver"}')
    write(tmp_path / "m" / "a" / "liver.nii.gz", values, coarse)
    expected = np.zeros(GRID.shape, bool)
    expected[2:4, 2, 3] = True
    for place in (tmp_path / "a.nii.gz", tmp_path / "m"):
        (case,) = find_mask_cases(place)
        with pytest.raises(GridError, match=r"expected the grid of the scan, got 2 x 5 x 6 voxels, not 4 x 5 x 6"):
            OpenMasks(case, GRID, "the scan").mask("liver")
        assert np.array_equal(OpenMasks(case, GRID, resample=True).mask("liver").whole(), expected)


def test_resampling_there_and_back_over_other_axes_keeps_all():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, (4, 5, 6)).astype(np.uint8)
    turned = SourceGrid((5, 6, 4), np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))
    plain = SourceGrid((4, 5, 6), np.eye(4))
    assert np.array_equal(resampled(values, plain, turned), values)  # both in RAS+ order
    fine = SourceGrid((8, 10, 12), np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]]))
    doubled = resampled(values, plain, fine)
    assert np.array_equal(doubled, values.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_a_structure_may_be_the_union_of_files(tmp_path):
    write_masks(tmp_path / "a")
    (case,) = find_mask_cases(tmp_path / "a")
    both = replace(case, unions={"all": ("liver", "spleen"), "half": ("liver", "gone")})
    assert np.array_equal(OpenMasks(both).mask("all").whole(), VALUES > 0)
    assert np.array_equal(OpenMasks(both).mask("half").whole(), VALUES == 1)


def write_segments(path, values=VALUES):
    labels = label_set_of({1: "liver", 2: "spleen"})
    write_seg_nrrd(LabelMap(values, labels, GRID), path)


@pytest.mark.parametrize("place", ["a.seg.nrrd", "a/segmentation.seg.nrrd"])
def test_segmentations_of_3d_slicer_are_cases(tmp_path, place):
    write_segments(tmp_path / place)
    (case,) = find_mask_cases(tmp_path)
    assert (case.name, sorted(case.annotated)) == ("a", ["liver", "spleen"])
    assert find_mask_cases(tmp_path / place)[0].segments == case.segments
    np.testing.assert_array_equal(OpenMasks(case, GRID).mask("spleen").whole(), VALUES == 2)
    assert OpenMasks(case).mask("heart").voxels == 0
    finer = SourceGrid((8, 5, 6), np.diag([1.0, 2, 3, 1]))
    with pytest.raises(GridError):
        OpenMasks(case, finer)
    assert OpenMasks(case, finer, resample=True).mask("liver").voxels == 2


def test_of_several_formats_side_by_side_one_is_read(tmp_path):
    write_masks(tmp_path)
    write_segments(tmp_path / "segmentation.seg.nrrd", np.roll(VALUES, 1))
    (case,) = find_mask_cases(tmp_path)
    assert [path.name for path in case.mask_files] == ["liver.nii.gz", "spleen.nii.gz"]


def test_metaimage_masks_and_endings_in_capitals(tmp_path):
    masks = {"liver": VALUES == 1, "spleen": VALUES == 2}
    for name in masks:
        write_metaimage(tmp_path / "mha" / f"{name}.mha", masks[name].astype(np.uint8), GRID)
        write(tmp_path / f"{name}.nii.gz", masks[name])
        (tmp_path / f"{name}.nii.gz").rename(tmp_path / f"{name}.NII.GZ")
    for folder in (tmp_path / "mha", tmp_path):
        (case,) = find_mask_cases(folder)
        assert case.annotated == ("liver", "spleen")
        np.testing.assert_array_equal(OpenMasks(case).mask("spleen").whole(), VALUES == 2)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_a_mask_that_is_a_link_to_nothing_is_not_passed_over(tmp_path, ending):
    write_metaimage(tmp_path / "liver.mha", (VALUES == 1).astype(np.uint8), GRID)
    write(tmp_path / "liver.nii.gz", VALUES == 1)
    for path in (tmp_path / "liver.mha", tmp_path / "liver.nii.gz"):
        if not path.name.endswith(ending):
            path.unlink()
    (tmp_path / f"spleen{ending}").symlink_to(tmp_path / "gone")
    (case,) = find_mask_cases(tmp_path)
    assert case.annotated == ("liver", "spleen")
    with pytest.raises(InputError, match=r"spleen.*: expected a file, got a link to a file that is not there"):
        OpenMasks(case).mask("spleen")


def test_a_mask_a_channel(tmp_path, rng):
    masks = rng.random((2, 4, 5, 6)) < 0.4
    image = nibabel.Nifti1Image(np.moveaxis(masks, 0, 3).astype(np.uint8), GRID.affine)
    nibabel.save(image, tmp_path / "a.nii.gz")
    for names in (("structure_1", "structure_2"), ("liver", "spleen")):
        if names[0] == "liver":
            (tmp_path / "labels.json").write_text('{"3": "liver", "7": "spleen"}')
        (case,) = find_mask_cases(tmp_path)
        assert (case.name, case.annotated, case.label_map) == ("a", names, None)
        for number, name in enumerate(names):
            np.testing.assert_array_equal(OpenMasks(case, GRID).mask(name).whole(), masks[number])
    assert case.label_values == {"liver": (3,), "spleen": (7,)}
