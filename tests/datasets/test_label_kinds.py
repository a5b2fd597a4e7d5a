"""Labels of every kind as those of a dataset, and two files of structures compared with one another."""

import json

import nibabel
import numpy as np
import pytest

from tests.files.dicom.scans import LABELS, PLACE, overlapping, series
from tomoseg.datasets.cases import mask_loader
from tomoseg.datasets.layouts import find_dataset
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.datasets.shared_grid import scan_grid, shared_grid
from tomoseg.errors import GridError
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.dicom.structures import write_rtstruct
from tomoseg.files.itk.seg_nrrd import write_seg_nrrd
from tomoseg.files.nifti import write_nifti
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid

NAMES = ("spleen", "kidney_right", "a structure of my own")
MADE_BY = MadeBy("ab" * 32, "1.2.3", "head-neck")


def write(result, path, kind):
    """A file of structures of any kind, with overlaps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = source_series(result.grid, "scan")
    if kind == "seg.dcm":
        write_seg(result, source, path, MADE_BY)
    elif kind == "rtstruct.dcm":
        write_rtstruct(result, source, path, MADE_BY)
    elif kind == "seg.nrrd":
        write_seg_nrrd(result, path)
    else:
        masks = np.stack([result.grid.from_canonical(result.mask(name)) for name in LABELS.names], axis=3)
        nibabel.save(nibabel.Nifti1Image(masks.astype(np.uint8), result.grid.affine), path)
        values = dict(zip(("1", "2", "5", "9"), LABELS.names, strict=True))
        (path.parent / "labels.json").write_text(json.dumps(values))


@pytest.mark.parametrize("kind", ["seg.dcm", "rtstruct.dcm", "seg.nrrd", "nii.gz"])
@pytest.mark.parametrize("name", ["labels", "seg"])
def test_datasets_have_them_beside_the_scan(tmp_path, rng, kind, name):
    volume = series(tmp_path / "dicom")
    result = overlapping(volume, rng)
    write_nifti(tmp_path / "set" / "a" / "ct.nii.gz", volume.hu, SourceGrid(volume.source.shape, volume.source.affine))
    write(result, tmp_path / "set" / "a" / f"{name}.{kind}", kind)
    found = find_dataset(tmp_path / "set")
    (case,) = found.cases
    assert set(case.annotated) >= set(NAMES)
    assert case.segments is not None
    load = mask_loader(case, found.labels, volume.source)
    for structure in NAMES:
        np.testing.assert_array_equal(load(found.labels.channel(structure)), result.mask(structure))
    if kind == "nii.gz":
        assert dict(zip(found.labels.names, found.labels.ids, strict=True))[NAMES[2]] == 9


def compared(ours, theirs):
    (one,), (other,) = find_mask_cases(ours), find_mask_cases(theirs)
    grid, owner = shared_grid(one, other)
    return OpenMasks(one, grid, owner), OpenMasks(other, grid, owner)


@pytest.mark.parametrize("kind", ["seg.dcm", "seg.nrrd"])
@pytest.mark.parametrize("other", ["seg.dcm", "rtstruct.dcm", "seg.nrrd"])
def test_files_of_parts_of_a_scan_are_compared_on_a_grid_that_holds_both(tmp_path, kind, other):
    volume = series(tmp_path / "ct", range(9))
    low, high = np.zeros((2, *volume.shape), np.uint8)
    low[3:6, 2:5, 1:4] = 1
    high[3:6, 2:5, 3:8] = 1
    write(LabelMap(low, LABELS, volume.source), tmp_path / "ours" / f"a.{kind}", kind)
    write(LabelMap(high, LABELS, volume.source), tmp_path / "theirs" / f"a.{other}", other)
    for ours, theirs in (("ours", "theirs"), ("theirs", "ours")):
        one, two = (opened.mask("spleen").whole() for opened in compared(tmp_path / ours, tmp_path / theirs))
        assert (one & two).sum() == 9
        assert (one | two).sum() == 9 * 7


def test_contours_alone_take_the_scan_of_their_space_beside_them(tmp_path, rng):
    volume = series(tmp_path / "a")
    result = overlapping(volume, rng)
    write(result, tmp_path / "a" / "RS.dcm", "rtstruct.dcm")
    write(result, tmp_path / "b" / "RS.dcm", "rtstruct.dcm")
    for opened in compared(tmp_path / "b", tmp_path / "a"):
        np.testing.assert_array_equal(opened.mask("spleen").whole(), result.mask("spleen"))
    with pytest.raises(GridError, match="expected the scan beside a DICOM structure set"):
        compared(tmp_path / "b", tmp_path / "b")
    series(tmp_path / "b", **PLACE | {"FrameOfReferenceUID": "1.2.3.6"})  # another patient's, for instance
    (case,) = find_mask_cases(tmp_path / "b" / "RS.dcm")
    assert scan_grid(case) is None


def test_beside_one_scan_any_name_will_do_and_beside_several_it_is_named_or_left_out(tmp_path):
    volume = series(tmp_path / "dicom")
    values = np.zeros(volume.shape, np.uint8)
    values[2, 3] = 1
    result = LabelMap(values, LABELS, volume.source)
    plain = SourceGrid(volume.source.shape, volume.source.affine)
    write_nifti(tmp_path / "set" / "a.nii.gz", volume.hu, plain)
    write(result, tmp_path / "set" / "RS.1.2.840.dcm", "rtstruct.dcm")
    (case,) = find_dataset(tmp_path / "set").cases
    assert (case.name, case.annotated) == ("a", ("spleen",))
    write_nifti(tmp_path / "set" / "b.nii.gz", volume.hu, plain)
    write(result, tmp_path / "set" / "b.seg.nrrd", "seg.nrrd")
    found = find_dataset(tmp_path / "set")
    assert [one.name for one in found.cases] == ["b"]
    assert any(
        "RS.1.2.840.dcm: a label map without a scan of the same name was left out" in str(w) for w in found.left_out
    )


def test_listed_labels_may_be_channels(tmp_path, rng):
    volume = series(tmp_path / "dicom")
    result = overlapping(volume, rng)
    plain = SourceGrid(volume.source.shape, volume.source.affine)
    write_nifti(tmp_path / "set" / "imagesTr" / "a.nii.gz", volume.hu, plain)
    write(result, tmp_path / "set" / "labelsTr" / "a.nii.gz", "nii.gz")
    described = {
        "labels": {"0": "background", "1": "spleen", "2": "kidney_right", "5": "liver", "9": NAMES[2]},
        "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}],
    }
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(described))
    found = find_dataset(tmp_path / "set")
    load = mask_loader(found.cases[0], found.labels, volume.source)
    for structure in NAMES:
        np.testing.assert_array_equal(load(found.labels.channel(structure)), result.mask(structure))
