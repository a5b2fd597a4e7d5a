import json
from dataclasses import replace

import highdicom
import nrrd
import numpy as np
import pydicom
import pytest

from tests.files.dicom.scans import PLACE
from tests.files.dicom.series import NAME, PATIENT_ID, image, save
from tests.workflows.predicting import LABELS, ON_CPU, expected_masks, names_in, run
from tomoseg.errors import ConfigError, OutputError
from tomoseg.files.dicom import segmentation
from tomoseg.files.dicom.headers import without_pydicom_warnings
from tomoseg.files.itk import seg_nrrd
from tomoseg.files.nifti import read_mask
from tomoseg.formats import FORMATS
from tomoseg.inference.segment import segment
from tomoseg.notices import Notice
from tomoseg.segmentation import LabelMap
from tomoseg.volume import Volume
from tomoseg.workflows.results import check_formats, write_preview
from tomoseg.workflows.scans import Scan


def raising(error):
    def fail(*arguments):
        raise error

    return fail


@pytest.fixture
def dicom(tmp_path, rng):
    hu = rng.normal(0, 300, (5, 16, 18)).astype(np.int16)
    slices = [image(hu[k], (0, 0, 4.0 * k), k + 1, **PLACE) for k in range(5)]
    return save(slices, tmp_path / "dicom")


def test_a_preview_gets_the_warnings_in_order_and_without_paths(model, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("tomoseg.pictures.preview.draw_preview", lambda *given, **also: drawn.append(also["warnings"]))
    scan = Scan("one", tmp_path / "patient" / "ct.nii.gz", tmp_path / "out")
    volume = Volume.from_array(np.zeros((4, 4, 4), np.int16), np.eye(4))
    notices = [
        Notice(f"{scan.path}: The gantry was tilted.", "tilt"),
        Notice("Left out: localizers.", "left out"),
        Notice("It seems to show abdomen.", "other body part"),
    ]
    assert write_preview(LabelMap(volume.hu.astype(np.uint8), LABELS, volume.source), volume, scan, "en", notices)
    assert [[str(notice) for notice in told] for told in drawn] == [
        ["It seems to show abdomen.", "The gantry was tilted."]
    ]


def test_all_formats_of_a_dicom_scan(dicom, model, tmp_path):
    formats = tuple(FORMATS)
    (done,) = run(dicom, tmp_path / "out", model, format=formats)
    assert done.warnings == ()
    assert done.error.startswith("dicom-seg-labelmap: expected structures that do not overlap")
    assert sorted(done.record["files"]) == names_in(tmp_path / "out")
    assert done.record["options"]["format"] == list(formats)
    found = segment(dicom, model, compute=ON_CPU).result
    expected = {name: found.mask(name) for name in LABELS.names if found.mask(name).any()}
    assert len(expected) > 1
    assert {f"stl/{name}.stl" for name in expected} < set(done.record["files"])
    for name, mask in expected.items():
        np.testing.assert_array_equal(read_mask(tmp_path / "out" / f"{name}.nii.gz"), mask)
    with without_pydicom_warnings():
        segmentation = highdicom.seg.segread(tmp_path / "out" / "segmentation.seg.dcm")
    sizes = {}
    for frame, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        label = segmentation.get_segment_description(number).segment_label
        sizes[label] = sizes.get(label, 0) + int(pixels.sum())
    assert sizes == {name: int(mask.sum()) for name, mask in expected.items()}
    structures = pydicom.dcmread(tmp_path / "out" / "segmentation.rtstruct.dcm")
    assert [roi.ROIName for roi in structures.StructureSetROISequence] == list(expected)
    header = nrrd.read_header(str(tmp_path / "out" / "segmentation.seg.nrrd"))
    assert [header[f"Segment{number}_Name"] for number in range(len(expected))] == list(expected)


def test_nothing_of_the_patients_is_in_names_records_or_logs(dicom, model, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG", "highdicom")
    caplog.set_level("DEBUG", "pydicom")
    formats = ("nrrd", "dicom-seg", "rtstruct", "stl")
    run(dicom, tmp_path / "out", model, format=formats, statistics=True)
    written = pydicom.dcmread(tmp_path / "out" / "segmentation.rtstruct.dcm")
    assert written.PatientName == NAME
    told = caplog.text + "".join(capfd.readouterr()) + " ".join(names_in(tmp_path / "out"))
    told += (tmp_path / "out" / "prediction.json").read_text()
    told += (tmp_path / "out" / "segmentation.seg.nrrd").read_bytes().decode("latin-1")
    assert not [secret for secret in ("SECRET", PATIENT_ID, "1.2.3.4") if secret in told]


def test_beside_a_label_map(dicom, model, tmp_path):
    formats = ("dicom-seg-labelmap", "nrrd", "rtstruct", "ply")
    (done,) = run(dicom, tmp_path / "out" / "a.nii.gz", model, format=formats, ml=True)
    assert done.error is None
    files = [name for name in names_in(tmp_path / "out") if not name.startswith("a_ply/")]
    assert files == ["a.labelmap.seg.dcm", "a.rtstruct.dcm", "a.seg.nrrd"]
    with without_pydicom_warnings():
        segmentation = highdicom.seg.segread(tmp_path / "out" / "a.labelmap.seg.dcm")
    assert segmentation.segmentation_type.value == "LABELMAP"
    (again,) = run(dicom, tmp_path / "out" / "a.nii.gz", model, format=formats, ml=True)
    assert again.skipped
    (other,) = run(dicom, tmp_path / "out" / "a.nii.gz", model, format=("nrrd",), ml=True)
    assert not other.skipped


def test_a_nifti_scan_gets_a_segmentation_of_its_own_and_no_contours(ct, model, tmp_path):
    (done,) = run(ct, tmp_path / "seg", model, format=("dicom-seg",))
    assert done.error is None
    (warning,) = done.warnings
    assert "the scan is not DICOM, so the DICOM result has no patient" in warning.message
    assert json.loads((tmp_path / "seg" / "prediction.json").read_text())["warnings"] == [warning.as_dict()]
    with without_pydicom_warnings():
        segmentation = highdicom.seg.segread(tmp_path / "seg" / "segmentation.seg.dcm")
    masks = {name: mask for name, mask in expected_masks(ct, model).items() if mask.any()}
    labels = [segmentation.get_segment_description(n).segment_label for n in segmentation.segment_numbers if n]
    assert labels == list(masks)
    (refused,) = run(ct, tmp_path / "rt", model, format=("rtstruct",))
    assert "expected DICOM for --format rtstruct" in refused.error
    assert not (tmp_path / "rt").exists()


def test_a_format_that_a_scan_cannot_have_stops_no_other_and_is_told_each_time(ct, model, tmp_path):
    for skipped in (False, True):
        (done,) = run(ct, tmp_path / "out", model, format=("nifti", "rtstruct"))
        assert "expected DICOM for --format rtstruct" in done.error
        assert done.skipped is skipped
        assert (
            sorted(done.record["files"]) == names_in(tmp_path / "out") == [f"{n}.nii.gz" for n in sorted(LABELS.names)]
        )
    (done,) = run(ct, tmp_path / "out", model)
    assert (done.error, done.skipped) == (None, False)


def test_an_unforeseen_error_of_a_format_comes_after_the_others(ct, model, tmp_path, monkeypatch):
    monkeypatch.setattr(seg_nrrd, "write_seg_nrrd", raising(ZeroDivisionError("a fault")))
    (done,) = run(ct, tmp_path / "out", model, format=("nrrd", "mha"))
    assert "ZeroDivisionError: a fault" in done.error
    assert done.state == "failed"
    assert (tmp_path / "out" / "liver.mha").is_file()


def test_a_format_that_fails_stops_no_other_and_is_tried_again(ct, model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(seg_nrrd, "write_seg_nrrd", raising(OutputError("no space left")))
        (done,) = run(ct, tmp_path / "out", model, format=("nrrd", "mha"))
    assert (done.error, done.state) == ("no space left", "incomplete")
    assert sorted(done.record["files"]) == names_in(tmp_path / "out")
    (again,) = run(ct, tmp_path / "out", model, format=("nrrd", "mha"))
    assert (again.error, again.skipped) == (None, False)
    assert "segmentation.seg.nrrd" in again.record["files"]


def test_no_format_is_refused(ct, model, tmp_path):
    with pytest.raises(ConfigError, match="expected at least one format, got none"):
        run(ct, tmp_path / "out", model, format=())


@pytest.mark.parametrize("name", ["a.dcm", "a.seg.nrrd", "a.stl"])
def test_a_files_name_for_the_folder_is_refused(ct, model, tmp_path, name):
    with pytest.raises(OutputError, match="expected a folder for files of this format, got a file's name"):
        run(ct, tmp_path / name, model, format=("nrrd",))


def test_a_segmentation_that_the_library_refuses_fails_alone_and_is_not_quoted(dicom, ct, model, tmp_path, monkeypatch):
    write = segmentation.write_seg

    def refuse(result, source, path, *others):
        if path.parent.name == "dicom":
            raise ValueError(f"odd header: {NAME}")
        write(result, source, path, *others)

    monkeypatch.setattr(segmentation, "write_seg", refuse)
    (tmp_path / "list.txt").write_text(f"{dicom}\n{ct}\n")
    bad, good = run(tmp_path / "list.txt", tmp_path / "out", model, format=("dicom-seg",))
    assert bad.error is not None
    assert "expected a scan with headers from which a DICOM segmentation can be made, got ValueError; use" in bad.error
    assert NAME not in bad.error
    assert not (tmp_path / "out" / "dicom" / "prediction.json").exists()
    assert good.error is None


def test_an_unknown_format_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"format: expected one of \d+ known names, got 'nrd'; did you mean 'nrrd'\?"):
        check_formats(["nifti", "nrd"])


def test_a_format_whose_package_is_missing_is_refused_before_anything_is_computed(monkeypatch):
    monkeypatch.setitem(FORMATS, "ply", replace(FORMATS["ply"], packages=("no_such_package",)))
    check_formats(["stl"])
    with pytest.raises(ConfigError, match=r"expected no_such_package, found none; run: pip install"):
        check_formats(["stl", "ply"])


def test_a_format_that_writes_nothing_is_an_error(ct, model, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "nrrd", replace(FORMATS["nrrd"], writer="tests.workflows.test_results:write_nothing"))
    (done,) = run(ct, tmp_path / "out", model, format=("nrrd",))
    assert "segmentation.seg.nrrd: expected files of format nrrd, got none" in done.error
    assert not (tmp_path / "out" / "prediction.json").exists()


def write_nothing(result, target):
    return []
