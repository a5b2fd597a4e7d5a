"""A scan is looked at once: how often a prediction lists folders and opens files, by what the interpreter reports."""

import sys
import threading
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from tests.files.dicom.scans import PLACE
from tests.files.dicom.series import image, save
from tests.workflows.predicting import run
from tomoseg.files.scan import scan_stem
from tomoseg.formats import FORMATS
from tomoseg.workflows.inspect import inspect

_LISTING = {"os.listdir", "os.scandir"}
_watched: list[tuple[Path, Counter, Counter]] = []
_lock = threading.Lock()


def _hook(event, arguments):
    if _watched and (event == "open" or event in _LISTING) and isinstance(arguments[0], str | Path):
        path = Path(arguments[0])
        with _lock:
            for place, listed, opened in _watched:
                if path == place or place in path.parents:
                    (opened if event == "open" else listed)[path] += 1


@contextmanager
def watched(place):
    """How often each folder of a place is listed, and each file opened."""
    if not hasattr(sys, "_tomoseg_watches"):
        sys.addaudithook(_hook)  # for good: hooks cannot be removed
        sys._tomoseg_watches = True
    counts = (place, Counter(), Counter())
    _watched.append(counts)
    try:
        yield counts[1:]
    finally:
        _watched.remove(counts)


@pytest.fixture
def dicom(tmp_path, rng):
    hu = rng.normal(0, 300, (5, 16, 18)).astype(np.int16)
    slices = [image(hu[k], (0, 0, 4.0 * k), k + 1, **PLACE) for k in range(5)]
    (tmp_path / "scans").mkdir()
    return save(slices, tmp_path / "scans" / "dicom")


def test_a_dicom_folder_is_listed_once_and_its_files_are_opened_twice(dicom, model, tmp_path):
    (dicom / "deeper").mkdir()
    (dicom / "004.dcm").rename(dicom / "deeper" / "004.dcm")
    (dicom / "notes.txt").write_text("no DICOM")
    with watched(dicom) as (listed, opened):
        (done,) = run(dicom, tmp_path / "out", model)
    assert done.error is None
    assert listed == {dicom: 1, dicom / "deeper": 1}
    slices = [dicom / f"00{k}.dcm" for k in range(4)] + [dicom / "deeper" / "004.dcm"]
    assert opened == dict.fromkeys(slices, 2) | {dicom / "notes.txt": 1}  # a header, then pixels


SOME_LACKING = {"SOPInstanceUID": None, "StudyInstanceUID": "", "FrameOfReferenceUID": ""}


@pytest.mark.parametrize("lacking", [{}, SOME_LACKING], ids=["whole", "without identifiers"])
def test_no_format_opens_a_slice_again(dicom, model, tmp_path, rng, lacking):
    hu = rng.normal(0, 300, (5, 16, 18)).astype(np.int16)
    save([image(hu[k], (0, 0, 4.0 * k), k + 1, **PLACE | lacking) for k in range(5)], dicom)
    with watched(dicom) as (listed, opened):
        (done,) = run(dicom, tmp_path / "out", model, format=tuple(FORMATS), preview=True, statistics=True)
    assert done.record is not None
    assert listed == {dicom: 1}
    assert set(opened.values()) == {2}
    assert any("generated ones" in str(notice) for notice in done.warnings) == bool(lacking)


def volumes(folder, rng):
    """A file of every other kind, with all that belongs to it."""
    hu = SimpleITK.GetImageFromArray(rng.normal(0, 300, (5, 16, 18)).astype(np.int16))
    hu.SetSpacing((3.0, 3.0, 4.0))
    for name in ("a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.nii", "a.nii.gz"):
        inside = folder / name.replace(".", "_")
        inside.mkdir(parents=True)
        SimpleITK.WriteImage(hu, str(inside / name), name.endswith(("nrrd", "mha")))
        yield inside / name


def test_a_file_of_every_kind_is_opened_twice(model, tmp_path, rng):
    for scan in volumes(tmp_path / "scans", rng):
        with watched(scan.parent) as (_, opened):
            (done,) = run(scan, tmp_path / "out", model, format=("mha", "dicom-seg"))
        assert done.error is None
        assert opened.pop(scan) == 2 + (
            scan.suffix not in {".nii", ".gz"}
        )  # once more for the name of a file of voxels
        assert set(opened.values()) <= {1}  # the voxels beside a header


def test_a_scan_that_was_done_before_is_not_read(dicom, model, tmp_path):
    run(dicom, tmp_path / "out", model)
    with watched(dicom) as (listed, opened):
        (done,) = run(dicom, tmp_path / "out", model)
    assert done.skipped
    assert listed == {dicom: 1}
    assert set(opened.values()) == {1}  # a header, which says whose each slice is


def test_each_of_many_folders_is_listed_once(dicom, model, tmp_path, rng):
    other = save([image(np.full((16, 18), k, np.int16), (0, 0, 4.0 * k), k + 1) for k in range(3)], tmp_path / "other")
    (tmp_path / "list.txt").write_text(f"{dicom}\n{other}\n")
    with watched(tmp_path) as (listed, opened):
        found = run(tmp_path / "list.txt", tmp_path / "out", model)
    assert [done.error for done in found] == [None, None]
    assert (listed[dicom], listed[other]) == (1, 1)
    assert {opened[path] for folder in (dicom, other) for path in folder.iterdir()} == {2}


def test_a_file_is_opened_twice_and_an_archive_once_more(dicom, model, ct, tmp_path):
    archive = tmp_path / "scans" / "a.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for path in dicom.iterdir():
            made.write(path, path.name)
    for scan in (archive, ct, dicom / "001.dcm"):
        with watched(scan.parent) as (listed, opened):
            (done,) = run(scan, tmp_path / "out" / scan_stem(scan), model)
        assert done.error is None
        assert opened[scan] == (3 if scan == archive else 2)  # once more for how many scans are in it
        assert scan.parent not in listed


def test_a_folder_of_scans_is_listed_once(dicom, model, ct, tmp_path):
    folder = tmp_path / "cases"
    (folder / "one").mkdir(parents=True)
    ct.rename(folder / "one" / "ct.nii.gz")
    with watched(folder) as (listed, opened):
        (done,) = run(folder, tmp_path / "out", model)
    assert done.error is None
    assert listed == {folder: 1, folder / "one": 1}
    assert opened == {folder / "one" / "ct.nii.gz": 3}  # what it is, whether it may be a label map, its voxels


def test_what_is_inspected_is_looked_at_once(dicom):
    with watched(dicom) as (listed, opened):
        assert inspect(dicom).error is None
    assert listed == {dicom: 1}
    assert set(opened.values()) == {2}
