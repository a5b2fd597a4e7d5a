"""Every layout takes scans of every kind that is read."""

import json
import zipfile

import numpy as np
import pytest
import SimpleITK

from tests.datasets.scan_kinds import (
    FILES,
    FOLDERS,
    SPACING_MM,
    hu,
    liver,
    planes,
    write_dicom,
    write_liver,
    write_scan,
)
from tests.files.dicom.series import image, save
from tomoseg.datasets.cases import mask_loader, read_case
from tomoseg.datasets.layouts import find_dataset
from tomoseg.errors import DatasetError, InputError
from tomoseg.files.nifti import write_nifti
from tomoseg.files.scan import read_scan
from tomoseg.volume import SourceGrid

KINDS = (*FILES, *FOLDERS)
GRID_OF_NO_SCAN = SourceGrid((3, 3, 3), np.eye(4))


def assert_is_the_scan(dataset, name="a", seed=0):
    """The only case has the voxels and the mask that were written."""
    (case,) = dataset.cases
    assert (case.name, case.annotated) == (name, ("liver",))
    assert not dataset.left_out
    volume = read_case(case)
    np.testing.assert_array_equal(volume.hu, hu(seed))
    np.testing.assert_allclose(volume.spacing_mm, SPACING_MM)
    np.testing.assert_array_equal(mask_loader(case, dataset.labels, volume.source)(0), liver())


def names(folder):
    (folder / "labels.json").write_text('{"1": "liver"}')


@pytest.mark.parametrize("called", ["ct", "CT", "scan"])
@pytest.mark.parametrize("kind", KINDS)
class TestCaseFolders:
    def test_with_masks(self, tmp_path, kind, called):
        write_scan(tmp_path / "a" / called, kind)
        write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
        assert_is_the_scan(find_dataset(tmp_path))

    def test_with_a_label_map(self, tmp_path, kind, called):
        write_scan(tmp_path / "a" / called, kind)
        write_liver(tmp_path / "a" / "labels.nii.gz")
        names(tmp_path)
        assert_is_the_scan(find_dataset(tmp_path))

    def test_below_other_folders(self, tmp_path, kind, called):
        write_scan(tmp_path / "berlin" / "2024" / "a" / called, kind)
        write_liver(tmp_path / "berlin" / "2024" / "a" / "segmentations" / "liver.nii.gz")
        assert_is_the_scan(find_dataset(tmp_path))

    def test_a_single_case(self, tmp_path, kind, called):
        write_scan(tmp_path / "a" / called, kind)
        write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
        assert_is_the_scan(find_dataset(tmp_path / "a"))


@pytest.mark.parametrize("kind", KINDS)
def test_flat(tmp_path, kind):
    write_scan(tmp_path / "a", kind)
    write_liver(tmp_path / "a_labels.nii.gz")
    names(tmp_path)
    dataset = find_dataset(tmp_path)
    assert dataset.layout == "flat"
    assert_is_the_scan(dataset)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("images", "labels", "number"), [("images", "labels", ""), ("imagesTr", "labelsTr", "_0000")])
def test_paired_folders(tmp_path, kind, images, labels, number):
    write_scan(tmp_path / images / f"a{number}", kind)
    write_liver(tmp_path / labels / "a.nii.gz")
    names(tmp_path)
    dataset = find_dataset(tmp_path)
    assert dataset.layout == "paired folders"
    assert_is_the_scan(dataset)


@pytest.mark.parametrize("kind", KINDS)
def test_listed(tmp_path, kind):
    scan = write_scan(tmp_path / "scans" / "x", kind)
    write_liver(tmp_path / "masks" / "a.nii.gz")
    entry = {"image": scan.relative_to(tmp_path).as_posix(), "label": "masks/a.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"liver": 1}, "training": [entry]}))
    assert_is_the_scan(find_dataset(tmp_path))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_numbered(tmp_path, ending):
    write_scan(tmp_path / "imagesTr" / "a_0000", ending)
    write_liver(tmp_path / "labelsTr" / "a.nii.gz")
    if ending != ".nii.gz":
        mask = SimpleITK.ReadImage(str(tmp_path / "labelsTr" / "a.nii.gz"))
        SimpleITK.WriteImage(mask, str(tmp_path / "labelsTr" / f"a{ending}"))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"liver": 1}, "file_ending": ending}))
    assert_is_the_scan(find_dataset(tmp_path))


@pytest.mark.parametrize("masks", [True, False])
def test_slices_loose_in_the_folder_of_a_case(tmp_path, masks):
    write_dicom(tmp_path / "a")
    write_liver(tmp_path / "a" / ("segmentations/liver.nii.gz" if masks else "labels.nii.gz"))
    names(tmp_path / "a")
    assert_is_the_scan(find_dataset(tmp_path))
    assert_is_the_scan(find_dataset(tmp_path / "a"))


def test_single_files_of_dicom_beside_their_label_maps(tmp_path):
    """As enhanced CT has them."""
    one = write_scan(tmp_path / "made", "enhanced") / "000.dcm"
    (tmp_path / "images").mkdir()
    one.rename(tmp_path / "images" / "a.dcm")
    (tmp_path / "made").rmdir()
    write_liver(tmp_path / "labels" / "a.nii.gz")
    names(tmp_path)
    assert_is_the_scan(find_dataset(tmp_path))
    (tmp_path / "images" / "a.dcm").rename(tmp_path / "a.dcm")
    (tmp_path / "labels" / "a.nii.gz").rename(tmp_path / "a_seg.nii.gz")
    (tmp_path / "images").rmdir()
    (tmp_path / "labels").rmdir()
    assert_is_the_scan(find_dataset(tmp_path))


def test_what_is_called_ct_goes_first_and_nifti_before_others(tmp_path):
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    for name, kind, seed in (("pet", ".nii.gz", 1), ("dose", ".nrrd", 2), ("old", "dicom", 3), ("ct", "dicom", 0)):
        write_scan(tmp_path / "a" / name, kind, seed)
    np.testing.assert_array_equal(read_case(find_dataset(tmp_path).cases[0]).hu, hu(0))
    write_scan(tmp_path / "a" / "ct", ".mha", 4)
    np.testing.assert_array_equal(read_case(find_dataset(tmp_path).cases[0]).hu, hu(4))
    write_scan(tmp_path / "a" / "ct", ".nii.gz", 5)
    np.testing.assert_array_equal(read_case(find_dataset(tmp_path).cases[0]).hu, hu(5))


def test_a_structure_set_in_a_folder_of_its_own_is_no_second_scan(tmp_path):
    """As archives sort DICOM: a folder a series."""
    write_dicom(tmp_path / "a" / "study" / "1")
    save([image(np.zeros((4, 4), np.int16), Modality="RTDOSE")], tmp_path / "a" / "dose")
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    dataset = find_dataset(tmp_path)
    np.testing.assert_array_equal(read_case(dataset.cases[0]).hu, hu())


def test_a_case_of_two_scans_is_left_out_and_no_other(tmp_path):
    for name in ("a", "b"):
        write_dicom(tmp_path / name / "one")
        write_liver(tmp_path / name / "segmentations" / "liver.nii.gz")
    write_dicom(tmp_path / "b" / "two", 1, SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2")
    dataset = find_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["a"]
    assert str(dataset.left_out[0]).endswith(
        "b: expected one scan (or a folder named ct), got one, two; move the others out of the folder."
    )


def test_folders_of_one_name_are_called_by_those_above_them(tmp_path):
    for city, name in (("berlin", "p1"), ("bern", "P1"), ("bern", "p2")):
        write_scan(tmp_path / city / name / "ct", ".nii")
        write_liver(tmp_path / city / name / "segmentations" / "liver.nii.gz")
    assert [case.name for case in find_dataset(tmp_path).cases] == ["berlin_p1", "bern_P1", "p2"]


def test_a_link_back_is_not_followed(tmp_path):
    write_scan(tmp_path / "x" / "a" / "ct", ".nii")
    write_liver(tmp_path / "x" / "a" / "segmentations" / "liver.nii.gz")
    (tmp_path / "x" / "back").symlink_to(tmp_path)
    assert_is_the_scan(find_dataset(tmp_path))


def test_a_stray_volume_hides_no_case(tmp_path):
    write_scan(tmp_path / "a" / "ct", ".nii.gz")
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    write_scan(tmp_path / "atlas", ".nii.gz", 1)
    dataset = find_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["a"]
    assert "atlas.nii.gz: a scan without a label map was left out" in str(dataset.left_out[0])


def test_a_zip_is_called_by_what_it_holds(tmp_path):
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    with zipfile.ZipFile(tmp_path / "a" / "ct.zip", "w") as archive:
        archive.writestr("readme.txt", "none")
    with pytest.raises(InputError, match=r"expected CT slices, got files that are not DICOM \(1\)"):
        read_case(find_dataset(tmp_path).cases[0])


def test_results_of_ours_are_no_scans(tmp_path):
    write_scan(tmp_path / "a" / "mask", ".nii.gz")
    (tmp_path / "a" / "prediction.json").write_text('{"model_sha256": "", "files": ["mask.nii.gz"]}')
    write_liver(tmp_path / "a" / "labels.nii.gz")
    names(tmp_path)
    with pytest.raises(DatasetError, match="left out: expected the record of a prediction, got another file"):
        find_dataset(tmp_path)


def test_notices_do_not_name_the_file(tmp_path):
    write_dicom(tmp_path / "a" / "ct", RescaleSlope=None, RescaleIntercept=None)
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    (notice,) = read_case(find_dataset(tmp_path).cases[0]).warnings
    assert notice.kind == "no rescale"
    assert str(tmp_path) not in str(notice)


def two_series(folder):
    """One of the scan, and one of it and a slice above, which is the larger."""
    write_dicom(folder, 0)
    rest = [image(plane, at, k + 1, (2.5, 2.0), SeriesInstanceUID="1.2.3") for k, plane, at in planes(1)]
    x, y, z = rest[-1].ImagePositionPatient
    rest.append(image(np.zeros((6, 7), np.int16), (x, y, z + 4.0), 6, (2.5, 2.0), SeriesInstanceUID="1.2.3"))
    for number, slice_ in enumerate(rest):
        slice_.save_as(folder / f"other{number}.dcm", enforce_file_format=True)


def test_of_several_series_it_is_the_one_that_the_masks_lie_on(tmp_path):
    two_series(tmp_path / "a" / "ct")
    assert read_scan(tmp_path / "a" / "ct").shape == (7, 6, 6)
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    assert_is_the_scan(find_dataset(tmp_path))
    told = [str(notice) for notice in read_case(find_dataset(tmp_path).cases[0]).warnings]
    assert any("There are 2 series; number 2, on which the masks lie, was used." in text for text in told)


def test_where_masks_lie_on_no_series_it_is_the_one_that_predict_takes(tmp_path):
    two_series(tmp_path / "a" / "ct")
    write_nifti(tmp_path / "a" / "labels.nii.gz", np.ones((3, 3, 3), np.uint8), GRID_OF_NO_SCAN)
    names(tmp_path)
    volume = read_case(find_dataset(tmp_path).cases[0])
    assert volume.shape == (7, 6, 6)
    assert any(str(one).endswith("The masks decide: check that they belong to this one.") for one in volume.warnings)
