import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tests.files.dicom.series import image, save
from tomoseg.files.nifti import write_nifti
from tomoseg.files.scan import look, read_scan
from tomoseg.files.source import Lost, SourceFile, list_folder, starts_dicom, starts_zip, walk
from tomoseg.volume import SourceGrid


def all_files(folders):
    return [file for folder in folders for file in folder.files]


def names(files):
    return [file.path.name for file in files]


@pytest.fixture
def series(rng, tmp_path):
    stored = rng.integers(-1000, 1000, (3, 4, 5), np.int16)
    return save([image(one, (0, 0, 2 * k), k) for k, one in enumerate(stored)], tmp_path / "series")


class TestListFolder:
    def test_files_come_by_name_and_hidden_ones_not_at_all(self, tmp_path):
        for name in ("b", ".a", "c", "a"):
            (tmp_path / name).write_bytes(b"x" * len(name))
        folder = list_folder(tmp_path)
        assert names(folder.files) == ["a", "b", "c"]
        assert (folder.folders, folder.linked) == ((), ())
        state = (tmp_path / "a").stat()
        assert folder.files[0] == SourceFile(tmp_path / "a", 1, state.st_mtime_ns, state.st_ctime_ns)

    def test_a_walk_takes_files_and_folders_in_one_order(self, tmp_path):
        for name in ("b/d", "b/c", "a", "e", ".h/i"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert names(all_files(walk(tmp_path))) == ["a", "e", "c", "d"]

    def test_links_to_files_are_files_and_links_to_folders_are_not_followed(self, tmp_path):
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "a").write_bytes(b"123")
        (tmp_path / "b").symlink_to(tmp_path / "there" / "a")
        (tmp_path / "c").symlink_to(tmp_path / "there")
        (tmp_path / "d").symlink_to(tmp_path / "gone")
        folder = list_folder(tmp_path)
        assert names(all_files(walk(tmp_path))) == ["b", "a"]
        assert folder.files[0].size == 3
        assert folder.linked == (tmp_path / "c",)
        assert folder.lost == (Lost(tmp_path / "d", "a link to nothing"),)

    def test_links_to_folders_elsewhere_are_followed_if_asked_for_and_none_in_a_circle(self, tmp_path):
        for name in ("in/a", "out/b"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        (tmp_path / "in" / "c").symlink_to(tmp_path / "out")
        (tmp_path / "in" / "d").symlink_to(tmp_path / "out")
        (tmp_path / "in" / "up").symlink_to(tmp_path)
        (tmp_path / "out" / "back").symlink_to(tmp_path / "in")
        (tmp_path / "out" / "round").symlink_to(tmp_path / "out")
        assert names(all_files(walk(tmp_path / "in", follow=True))) == ["a", "b"]

    def test_a_folder_that_cannot_be_listed_is_lost(self, tmp_path, monkeypatch):
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        scandir = os.scandir

        def fail(path):
            if path == tmp_path / "a":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", fail)
        found = list(walk(tmp_path))
        assert [folder.path for folder in found] == [tmp_path, tmp_path / "b"]
        assert found[0].lost == (Lost(tmp_path / "a", "permission denied"),)


@pytest.mark.parametrize(
    ("start", "is_dicom"),
    [
        (bytes(128) + b"DICM", True),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", True),  # no preamble, explicit
        (b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100", True),  # no preamble, implicit
        (b"\x08\0\x05\0\0\0\0\x50ISO_IR 100", False),
        (b"\x5c\x01\0\0" + bytes(128), False),
        (b"DICM", False),
        (b"", False),
    ],
)
def test_how_dicom_starts(start, is_dicom):
    assert starts_dicom(start) == is_dicom


def test_how_an_archive_starts(tmp_path):
    for name, files in (("a.zip", ["x"]), ("empty.zip", [])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in files:
                archive.writestr(file, "")
        assert starts_zip((tmp_path / name).read_bytes())
    assert not starts_zip(b"PK")


class TestLook:
    def test_what_a_source_is_called_and_holds(self, series, tmp_path):
        (series / "notes.txt").write_text("text")
        found = look(series)
        assert (found.kind, found.path, found.is_dicom) == ("dicom", series, True)
        assert names(found.files) == ["000.dcm", "001.dcm", "002.dcm", "notes.txt"]
        assert len(found.headers[series / "000.dcm"]) == 1

    @pytest.mark.parametrize(
        ("name", "start", "kind"),
        [
            ("a.nii.gz", b"\x1f\x8b", "nifti"),
            ("a.nii", b"\x5c\x01\0\0", "nifti"),
            ("a.nii", b"NRRD0004\n", "nrrd"),
            ("a.mha", b"ObjectType = Image", "metaimage"),
            ("a", b"PK\x03\x04", "zip"),
            ("a.nii", bytes(128) + b"DICM", "dicom"),
        ],
    )
    def test_a_file_is_told_by_its_content_first(self, tmp_path, name, start, kind):
        (tmp_path / name).write_bytes(start)
        found = look(tmp_path / name)
        assert (found.kind, found.files) == (kind, (SourceFile.at(tmp_path / name),))

    def test_where_nothing_is_the_name_decides(self, tmp_path):
        assert (look(tmp_path / "a.mhd").kind, look(tmp_path / "a.mhd").files) == ("metaimage", ())

    def test_a_folder_with_one_scan_is_that_scan_with_all_its_files(self, tmp_path):
        (tmp_path / "in").mkdir()
        for name in ("a.mhd", "a.raw"):
            (tmp_path / "in" / name).write_text("ObjectType = Image")
        found = look(tmp_path)
        assert (found.kind, found.path) == ("metaimage", tmp_path / "in" / "a.mhd")
        assert names(found.files) == ["a.mhd", "a.raw"]

    def test_it_travels_to_another_process(self, series):
        found = pickle.loads(pickle.dumps(look(series)))  # noqa: S301  # our own
        assert found == look(series)
        np.testing.assert_array_equal(read_scan(found).hu, read_scan(series).hu)

    def test_it_shows_no_names_of_files(self, series):
        (series / "SECRET.dcm").write_bytes((series / "000.dcm").read_bytes())
        assert "SECRET" not in repr(look(series))
        assert "dcm" not in repr(look(series))


@pytest.mark.parametrize(
    ("what", "spared"), [("ct.nii", ("pydicom", "highdicom")), ("series", ("nibabel", "highdicom", "scipy.stats"))]
)
def test_a_scan_of_one_kind_imports_nothing_for_others(series, tmp_path, what, spared):
    write_nifti(tmp_path / "ct.nii", np.zeros((2, 3, 4), np.int16), SourceGrid((2, 3, 4), np.eye(4)))
    code = (
        "import sys; from pathlib import Path; from tomoseg.files.scan import read_scan; read_scan(Path(sys.argv[1])); "
        "print([name for name in sys.argv[2:] if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / what), *spared]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
