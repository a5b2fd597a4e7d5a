"""Datasets whose scans are of every kind that is read: preprocessed, checked and drawn alike."""

import json
import os

import numpy as np
import pytest

from tests.datasets.scan_kinds import FILES, FOLDERS, hu, liver, planes, write_liver, write_scan
from tests.files.dicom.series import image
from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.masks import unpack
from tomoseg.preprocessed.format import CASES, CT, MASKS
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.check import check
from tomoseg.workflows.preprocess import preprocess

CONFIG = PreprocessConfig(
    grid=GridConfig(spacing_mm=4.0, crop="none"), workers=1, validation_share=0.3, structures=("liver",)
)


def write_case(folder, kind, seed=0):
    write_liver(folder / "segmentations" / "liver.nii.gz")
    return write_scan(folder / "ct", kind, seed)


def test_every_kind_comes_out_bit_for_bit(tmp_path):
    for kind in (*FILES, *FOLDERS):
        write_case(tmp_path / "data" / kind.replace(".", "_").strip("_"), kind)
    report = preprocess(tmp_path / "data", tmp_path / "out", CONFIG)
    assert report.failed == {}
    assert len(report.records) == len(FILES) + len(FOLDERS)
    for file in (CT, MASKS):
        arrays = {(tmp_path / "out" / CASES / record.name / file).read_bytes() for record in report.records}
        assert len(arrays) == 1
    assert {record.placement for record in report.records} == {report.records[0].placement}


def test_the_voxels_are_those_that_were_written(tmp_path):
    for name, kind in (("a", "dicom"), ("b", ".mha"), ("c", ".nrrd"), ("d", ".zip")):
        write_case(tmp_path / "data" / name, kind, ord(name))
    native = CONFIG.model_copy(update={"grid": GridConfig(mode="native", crop="none")})
    preprocess(tmp_path / "data", tmp_path / "out", native)
    for case in Preprocessed(tmp_path / "out").cases:
        np.testing.assert_array_equal(case.ct(), hu(ord(case.name)))
        np.testing.assert_array_equal(unpack(case.masks(), 1)[0], liver())


def changed_in_place(path, change):
    """Other bytes in a file of the same length that was written at the same time."""
    state = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size


@pytest.mark.parametrize(
    ("kind", "file"),
    [("dicom", "ct/002.dcm"), ("dicom below", "ct/study/series/002.dcm"), (".mhd", "ct.raw"), (".nhdr", "ct.raw")],
)
def test_a_changed_slice_of_the_same_size_and_time_is_seen(tmp_path, kind, file):
    case = tmp_path / "data" / "a"
    if kind == ".nhdr":
        write_case(case, ".mhd")
        (case / "ct.mhd").unlink()
        write_detached_nrrd(case)
    else:
        write_case(case, kind)
    write_case(tmp_path / "data" / "b", ".nii")
    preprocess(tmp_path / "data", tmp_path / "out", CONFIG)
    changed_in_place(case / file, lambda content: content.__setitem__(slice(-4, None), b"\x05\0\x05\0"))
    told = []
    preprocess(tmp_path / "data", tmp_path / "out", CONFIG, on_case=told.append)
    assert {done.name: done.reused for done in told} == {"a": False, "b": True}


def write_detached_nrrd(case):
    """A header for the voxels that a MetaImage header named."""
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 7 6 5\n"
        "space directions: (2,0,0) (0,2.5,0) (0,0,4)\nspace origin: (-12,-12.5,0)\nendian: little\nencoding: raw\n"
        "data file: ct.raw\n"
    )
    (case / "ct.nhdr").write_text(header)


def test_a_slice_that_was_added_is_seen(tmp_path):
    folder = write_case(tmp_path / "data" / "a", "dicom")
    write_case(tmp_path / "data" / "b", ".nii")
    preprocess(tmp_path / "data", tmp_path / "out", CONFIG)
    for k, plane, (x, y, z) in planes():
        if k == 4:
            image(plane, (x, y, z + 4.0), 6, (2.5, 2.0)).save_as(folder / "new.dcm", enforce_file_format=True)
    told = []
    report = preprocess(tmp_path / "data", tmp_path / "out", CONFIG, on_case=told.append)
    assert {done.name: done.reused for done in told} == {"a": False, "b": True}
    assert "got 7 x 6 x 5 voxels, not 7 x 6 x 6" in report.failed["a"]  # the mask is too small now
    assert [record.name for record in report.records] == ["b"]


def test_the_doctor_reads_them_and_draws_them(tmp_path):
    for number in range(3):
        write_case(tmp_path / "data" / f"d{number}", "dicom", number)
        write_case(tmp_path / "data" / f"m{number}", ".mha", number)
    report = check(tmp_path / "data", tmp_path / "out")
    found = [(one.kind, one.case, one.structure) for one in report.findings if one.kind == "duplicate"]
    assert found[:3] == [("duplicate", f"m{number}", None) for number in range(3)]
    assert report.holdings.spacing_mm == ((2.0, 2.0), (2.5, 2.5), (4.0, 4.0))
    page = (tmp_path / "out" / "check.html").read_text()
    assert page.count("data:image/png") >= 3
    assert "unreadable" not in json.loads((tmp_path / "out" / "check.json").read_text())["findings"]
