import io
import stat
import zipfile
from pathlib import PurePosixPath

import pytest

from tests.datasets.download.server import dataset_files, zip_of
from tomoseg.datasets.download.contents import opened_archive, read_contents
from tomoseg.datasets.download.remote_file import LocalFile
from tomoseg.errors import DownloadError


def contents_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return read_contents(archive, len(data), "scans.zip")


def entry(name, kind=0, compression=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix: the kind of file is in the upper half
    info.external_attr = (kind | 0o644) << 16
    info.compress_type = compression
    return info


def paths(members):
    return sorted(map(str, (member.path for member in members)))


@pytest.mark.parametrize("root", ["", "Totalsegmentator_dataset/", "a/b/"])
def test_cases_and_tables(root):
    files = dataset_files("s0", "s1", root=root)
    hidden = (".DS_Store", "s0/._ct.nii.gz", "__MACOSX/s0/ct.nii.gz", "s0/segmentations/.x/liver.nii.gz")
    files |= dict.fromkeys((root + name for name in hidden), b"x")
    files |= {f"{root}docs/readme.txt": b"passed over", f"{root}s0/": b""}
    contents = contents_of(zip_of(files))
    assert {name: paths(members) for name, members in contents.cases.items()} == {
        name: [f"{name}/ct.nii.gz", f"{name}/segmentations/liver.nii.gz"] for name in ("s0", "s1")
    }
    assert paths(contents.tables) == ["meta.csv"]
    assert contents.cases["s0"][0].info.filename == f"{root}s0/ct.nii.gz"


def test_cases_in_folders_of_splits():
    files = dataset_files("train/a", "val/b") | {"train/a/inner/ct.nii.gz": b"not a case of its own"}
    contents = contents_of(zip_of(files))
    assert sorted(contents.cases) == ["a", "b"]
    assert paths(contents.cases["a"]) == [
        "train/a/ct.nii.gz",
        "train/a/inner/ct.nii.gz",
        "train/a/segmentations/liver.nii.gz",
    ]
    assert paths(contents.tables) == ["meta.csv"]


@pytest.mark.parametrize(
    "name",
    [
        "../s0.txt",
        "s0/../../x",
        "s0/segmentations/..",
        "/etc/passwd",
        "//host/share",
        "C:/x",
        "s0\\..\\..\\x",
        "s0//x",
        "./x",
        "s0/a\nb",
        "s0/a.",
        "s0/a ",
        "s0/NUL.txt",
        "s0/" + "x" * 201,
        "s0/x\0.nii.gz",
        "",
        "/",
    ],
)
def test_names_that_lead_elsewhere(name):
    info = entry("x")
    info.filename = info.orig_filename = name
    with pytest.raises(DownloadError, match=r"scans\.zip: expected paths inside the archive's folder, got .*; nothin"):
        contents_of(zip_of(dataset_files("s0") | {info: b"x"}))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_neither_file_nor_folder(kind):
    with pytest.raises(
        DownloadError, match=r"expected files and folders, got the link or device 's0/liver'; nothing wa"
    ):
        contents_of(zip_of(dataset_files("s0") | {entry("s0/liver", kind): b"/etc/passwd"}))


def test_plain_files_and_folders_of_unix_pass():
    files = dataset_files("s0") | {entry("s0/x/", stat.S_IFDIR): b"", entry("s0/x/y", stat.S_IFREG): b"y"}
    assert "s0/x/y" in paths(contents_of(zip_of(files)).cases["s0"])


class TestBombs:
    def test_a_file_that_grows_too_much(self):
        at_most = (16 << 20) + 100 * 20_000
        assert contents_of(zip_of(dataset_files("s0") | {"s0/empty_mask": bytes(16 << 20)}))
        with pytest.raises(
            DownloadError, match=rf"unpack to at most 100 times their size, got 's0/x' of \d+ bytes .* {2 * at_most};"
        ):
            contents_of(zip_of(dataset_files("s0") | {"s0/x": bytes(2 * at_most)}))

    def test_many_files_that_grow_a_little(self):
        files = dataset_files("s0") | {f"s0/{n}": bytes(6 << 20) for n in range(4)}
        with pytest.raises(
            DownloadError, match=r"at most 10 times as much unpacked, got \d+ and 251\d+; nothing was un"
        ):
            contents_of(zip_of(files))

    def test_files_that_share_their_bytes(self):
        data = zip_of(dataset_files("s0") | {"s0/x": bytes(range(256)) * 400}, zipfile.ZIP_STORED)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            shared = archive.getinfo("s0/x")
            for number in range(3):
                copy = entry(f"s0/{number}", compression=zipfile.ZIP_STORED)
                copy.file_size = copy.compress_size = shared.file_size
                copy.header_offset, copy.orig_filename = shared.header_offset, copy.filename
                archive.filelist.append(copy)
            message = rf"expected an archive of {len(data)} bytes to contain at most .* got \d+ and \d+"
            with pytest.raises(DownloadError, match=message):
                read_contents(archive, len(data), "scans.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("name", ["s0/ct.nii.gz", "S0/CT.NII.GZ"])
def test_a_file_twice(name):
    data = dataset_files("s0") | {entry(name): b"again"}
    with pytest.raises(DownloadError, match=rf"expected each file once, got '{name}' twice"):
        contents_of(zip_of(data))


def test_a_file_in_a_file():
    with pytest.raises(DownloadError, match=r"expected files inside folders, got 's0/ct\.nii\.gz/x' inside a file"):
        contents_of(zip_of(dataset_files("s0") | {"s0/ct.nii.gz/x": b""}))


def test_two_cases_of_one_name():
    with pytest.raises(DownloadError, match=r"expected each case once, got two folders of one name"):
        contents_of(zip_of(dataset_files("train/a", "val/a")))


def test_no_case():
    with pytest.raises(DownloadError, match=r"expected folders with ct\.nii\.gz in the archive, got none"):
        contents_of(zip_of({"ct.nii.gz": b"", "s0/scan.nii.gz": b""}))


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compressions(compression):
    with pytest.raises(DownloadError, match=r"expected files that are stored or deflated, got 'meta\.csv'"):
        contents_of(zip_of(dataset_files("s0"), compression))


def test_encrypted_files():
    with zipfile.ZipFile(io.BytesIO(zip_of(dataset_files("s0")))) as archive:
        archive.getinfo("s0/ct.nii.gz").flag_bits |= 1
        with pytest.raises(DownloadError, match=r"stored or deflated, got 's0/ct\.nii\.gz', which is encrypted or"):
            read_contents(archive, 10_000, "scans.zip")


@pytest.mark.parametrize("data", [b"", b"<html>", zip_of(dataset_files("s0"))[:-30], b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    message = r"scans\.zip: expected a whole ZIP file, got: .*; download it again"
    with pytest.raises(DownloadError, match=message), opened_archive(LocalFile(tmp_path / "x.zip"), "scans.zip"):
        pass


def test_places_are_relative():
    contents = contents_of(zip_of(dataset_files("s0", root="r/")))
    assert {member.path.parent for member in contents.tables} == {PurePosixPath()}
