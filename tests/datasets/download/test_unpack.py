import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.download.server import dataset_files, zip_of
from tomoseg.datasets.download.contents import opened_archive, read_contents
from tomoseg.datasets.download.remote_file import LocalFile
from tomoseg.datasets.download.unpack import unpack
from tomoseg.errors import DownloadError, OutputError, TomosegError

FILES = dataset_files("s0", "s1", "s2")


def unpack_bytes(data, output, wanted=None, on_case=lambda *told: None):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = read_contents(archive, len(data), "scans.zip")
        return unpack(archive, contents, tuple(contents.cases) if wanted is None else wanted, output, on_case)


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything(tmp_path):
    told = []
    assert unpack_bytes(zip_of(FILES), tmp_path / "out", on_case=lambda *what: told.append(what)) == 3
    assert files_in(tmp_path / "out") == FILES
    assert told == [("s0", 1, 3), ("s1", 2, 3), ("s2", 3, 3)]


def test_single_cases_come_with_the_table(tmp_path):
    assert unpack_bytes(zip_of(FILES), tmp_path, ["s2"]) == 1
    assert files_in(tmp_path) == {name: data for name, data in FILES.items() if name.startswith(("s2", "meta"))}


def test_cases_in_folders_of_splits(tmp_path):
    files = dataset_files("train/a", "val/b")
    unpack_bytes(zip_of(files), tmp_path)
    assert files_in(tmp_path) == files


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "s1").mkdir()
    (tmp_path / "meta.csv").write_text("mine")
    left_over = tmp_path / ".s2.0123456789ab.part"
    left_over.mkdir()
    told = []
    assert unpack_bytes(zip_of(FILES), tmp_path, on_case=lambda *what: told.append(what)) == 2
    assert list((tmp_path / "s1").iterdir()) == []
    assert (tmp_path / "meta.csv").read_text() == "mine"
    assert told == [("s0", 2, 3), ("s2", 3, 3)]
    assert not left_over.exists()
    assert unpack_bytes(zip_of(FILES), tmp_path) == 0


def test_a_damaged_case_is_not_there_and_those_before_it_are(tmp_path):
    data = bytearray(zip_of(FILES, zipfile.ZIP_STORED))
    at = data.index(b"liver of s1")
    data[at] ^= 1
    with pytest.raises(
        DownloadError, match=r"s1/segmentations/liver\.nii\.gz: expected a whole ZIP file, got: Bad CRC-32"
    ):
        unpack_bytes(bytes(data), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meta.csv", "s0"]


@pytest.mark.parametrize("claimed", [10, 100_000])
def test_a_size_that_lies(tmp_path, claimed):
    data = bytearray(zip_of({"s0/ct.nii.gz": bytes(range(200)) * 5}))
    at = data.index(b"PK\x01\x02") + 24  # the unpacked size in the list of files
    assert int.from_bytes(data[at : at + 4], "little") == 1000
    data[at : at + 4] = claimed.to_bytes(4, "little")
    message = "Bad CRC-32" if claimed < 1000 else r"expected 100000 bytes in the archive, got 1000; download it again"
    with pytest.raises(DownloadError, match=message):
        unpack_bytes(bytes(data), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space(tmp_path):
    with zipfile.ZipFile(io.BytesIO(zip_of(FILES))) as archive:
        contents = read_contents(archive, 10_000, "scans.zip")
        contents.cases["s0"][0].info.file_size = 10**17
        with pytest.raises(OutputError, match=r"expected 100000000\.00 GB of free space"):
            unpack(archive, contents, ["s0"], tmp_path)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 2000))
def test_whatever_is_damaged_cases_are_right_or_missing(tmp_path_factory, changes, cut):
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(zip_of(FILES))
    for place, value in changes:
        data[place % len(data)] = value
    path, output = folder / "x.zip", folder / "out"
    path.write_bytes(data[: len(data) - cut] if cut < 200 else data)
    try:
        with opened_archive(LocalFile(path), "x.zip") as archive:
            contents = read_contents(archive, path.stat().st_size, "x.zip")
            unpack(archive, contents, tuple(contents.cases), output)
    except TomosegError:
        pass
    assert sorted(inner.name for inner in folder.iterdir() if inner.name != "out") == ["x.zip"]
    there = files_in(output) if output.exists() else {}
    assert not [name for name in there if ".part" in name]
    assert set(there.values()) <= set(FILES.values())
