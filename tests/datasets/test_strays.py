"""Nothing in a dataset's folder is passed over in silence."""

import numpy as np
import pytest

from tests.datasets.scan_kinds import write_dicom, write_liver, write_scan
from tests.files.dicom.series import image, save
from tomoseg.errors import DatasetError
from tomoseg.terminal.datasets import dataset_in_words
from tomoseg.workflows.datasets import open_dataset


@pytest.fixture
def dataset(tmp_path):
    """A NIfTI and a DICOM case in folders of their own."""
    for name, kind in (("a", ".nii.gz"), ("b", "dicom")):
        write_scan(tmp_path / name / "ct", kind)
        write_liver(tmp_path / name / "segmentations" / "liver.nii.gz")
    return tmp_path


def told(folder):
    found = open_dataset(folder)
    assert {str(one) for one in found.left_out} <= set(found.warnings)
    return [f"{one.path.relative_to(folder).as_posix()}: {one.why}" for one in found.left_out]


NO_CASE = "that belongs to no case; add masks for it, or move it out of the dataset"


def test_of_a_whole_dataset_nothing(dataset):
    (dataset / "readme.txt").write_text("none")
    (dataset / "b" / "ct" / "notes.txt").write_text("none")
    (dataset / "docs").mkdir()
    assert told(dataset) == []
    assert dataset_in_words(open_dataset(dataset)) == "2 cases (case folders): 1 DICOM, 1 NIfTI"


def test_patients_in_dicom_beside_case_folders(dataset):
    write_dicom(dataset / "anna" / "study", PatientID="1")
    write_dicom(dataset / "both", PatientID="2", StudyInstanceUID="1.2")
    for number, slice_ in enumerate(sorted(write_dicom(dataset / "x", 1, PatientID="3").iterdir())):
        slice_.rename(dataset / "both" / f"other{number}.dcm")
    assert told(dataset) == [
        f"anna/study: left out: 1 DICOM scan {NO_CASE}",
        f"both: left out: 2 DICOM scans {NO_CASE}",
    ]
    assert dataset_in_words(open_dataset(dataset)) == "2 cases (case folders): 1 DICOM, 1 NIfTI; 2 left out"


def test_volumes_of_all_kinds(dataset):
    write_scan(dataset / "deep" / "er" / "atlas_labels", ".nrrd")
    write_scan(dataset / "backup", ".zip")
    write_scan(dataset / "a" / "pet", ".nii.gz")
    write_scan(dataset / "a" / "old" / "dose", ".mha")
    write_scan(dataset / "b" / "ct" / "same", ".nii.gz")
    assert sorted(told(dataset)) == [
        "a/old/dose.mha: left out: beside a ct.nii.gz, which is the scan of its case",
        "a/pet.nii.gz: left out: beside a ct.nii.gz, which is the scan of its case",
        "b/ct/same.nii.gz: left out: a volume beside ct, which is the scan of its case",
        "backup.zip: a scan without a label map was left out; add backup_labels.nii.gz",
        "deep/er: a folder without a scan was left out; add ct.nii.gz",
    ]


def test_what_cannot_be_read(dataset):
    (dataset / "dead.nii.gz").symlink_to(dataset / "nowhere")
    (dataset / "gone").symlink_to(dataset / "nowhere")
    (dataset / "b" / "ct" / "004.dcm").unlink()
    (dataset / "b" / "ct" / "004.dcm").symlink_to(dataset / "nowhere")
    (dataset / "scans.tar.gz").write_bytes(b"none")
    assert sorted(told(dataset)) == [
        "b/ct/004.dcm: left out: a link to nothing",
        "dead.nii.gz: a scan without a label map was left out; add dead_labels.nii.gz",
        "gone: left out: a link to nothing",
        "scans.tar.gz: left out: an archive; unpack it",
    ]


def test_a_case_without_a_scan_and_one_without_masks_are_told_once(dataset):
    write_liver(dataset / "c" / "segmentations" / "liver.nii.gz")
    write_scan(dataset / "d" / "ct", "dicom")
    write_scan(dataset / "e" / "ct", ".mha")
    assert sorted(told(dataset)) == [
        "c: a folder without a scan was left out; add ct.nii.gz",
        f"d/ct: left out: 1 DICOM scan {NO_CASE}",
        "e: a scan without masks was left out; add segmentations/<structure>.nii.gz or a label map",
    ]


def test_results_of_ours_and_what_is_made_from_scans_are_no_scans(dataset):
    write_liver(dataset / "predicted" / "a" / "liver.nii.gz")
    (dataset / "predicted" / "a" / "prediction.json").write_text('{"model_sha256": "", "files": ["liver.nii.gz"]}')
    save([image(np.zeros((4, 4), np.int16), Modality="RTDOSE")], dataset / "b" / "dose")
    assert told(dataset) == []


def test_scans_for_a_test_are_a_note(tmp_path):
    write_scan(tmp_path / "imagesTr" / "a_0000", ".mha")
    write_liver(tmp_path / "labelsTr" / "a.nii.gz")
    write_scan(tmp_path / "imagesTs" / "b_0000", ".mha", 1)
    write_scan(tmp_path / "imagesTs" / "c_0000", ".mha", 2)
    (tmp_path / "labels.json").write_text('{"1": "liver"}')
    found = open_dataset(tmp_path)
    assert found.left_out == ()
    assert found.warnings == (f"{tmp_path}: 2 scans in imagesTs without labels: not used.",)


def test_beside_pairs_and_flat_cases(tmp_path):
    write_scan(tmp_path / "images" / "a", ".nii.gz")
    write_liver(tmp_path / "labels" / "a.nii.gz")
    (tmp_path / "labels.json").write_text('{"1": "liver"}')
    write_dicom(tmp_path / "images" / "b")
    write_dicom(tmp_path / "more" / "c")
    assert told(tmp_path) == [
        "images/b: a scan without a label map in labels was left out",
        f"more/c: left out: 1 DICOM scan {NO_CASE}",
    ]
    for name, place in (("images/a.nii.gz", "a.nii.gz"), ("labels/a.nii.gz", "a_seg.nii.gz")):
        (tmp_path / name).rename(tmp_path / place)
    (tmp_path / "labels").rmdir()
    assert told(tmp_path) == [
        f"images/b: left out: 1 DICOM scan {NO_CASE}",
        f"more/c: left out: 1 DICOM scan {NO_CASE}",
    ]


def test_scans_alone_are_no_dataset(tmp_path):
    write_dicom(tmp_path / "a")
    with pytest.raises(DatasetError, match="expected a dataset, got none"):
        open_dataset(tmp_path)
