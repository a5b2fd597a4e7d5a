import io
import os
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.download.server import FileServer, dataset_files, serving, web, zip_of
from tomoseg.datasets.download.contents import opened_archive, read_contents
from tomoseg.datasets.download.remote_file import MOST_AT_ONCE, LocalFile, RemoteFile
from tomoseg.datasets.download.sources import Archive
from tomoseg.errors import DownloadError

CONTENT = bytes(range(256)) * 40


def remote(server, size=None, **windows):
    return RemoteFile(Archive("scans", server.url, "scans.zip", size), web(), **windows)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(-400, 11000), st.sampled_from([0, 1, 2]), st.integers(-1, 3000)), max_size=8),
    st.integers(1, 4000),
    st.integers(1, 20000),
    st.lists(st.none() | st.integers(0, 300), max_size=2),
)
def test_it_reads_as_a_file_in_memory_does(moves, read_ahead, tail, drops):
    local = io.BytesIO(CONTENT)
    with serving(FileServer(CONTENT, drops=drops)) as server:
        file = remote(server, read_ahead=read_ahead, tail=tail)
        for offset, whence, size in moves:
            start = {0: 0, 1: local.tell(), 2: len(CONTENT)}[whence] + offset
            if start < 0:
                with pytest.raises(OSError, match="expected a position in the file,"):
                    file.seek(offset, whence)
                continue
            assert file.seek(offset, whence) == local.seek(start)
            assert file.read(size) == local.read(size)
            assert file.tell() == local.tell()


def test_few_requests_are_enough():
    with serving(FileServer(CONTENT)) as server:
        file = remote(server, read_ahead=1000, tail=100)
        assert (file.size, file.readable(), file.seekable()) == (10240, True, True)
        assert b"".join(file.read(10) for _ in range(250)) == CONTENT[:2500]
        file.seek(-30, io.SEEK_END)
        assert file.read() == CONTENT[-30:]
    assert server.spans == ["bytes=-100", "bytes=0-999", "bytes=1000-1999", "bytes=2000-2999", "bytes=10210-10239"]
    assert [headers.get("If-Range") for headers in server.asked] == [None, *['"one"'] * 4]


def test_a_large_read_is_one_request():
    with serving(FileServer(CONTENT)) as server:
        file = remote(server, read_ahead=10, tail=10)
        assert file.read(5000) == CONTENT[:5000]
    assert server.spans[1:] == ["bytes=0-4999"]


def test_a_server_without_parts():
    message = r"expected a server that sends parts of a file, got status 200 without them; download the whole"
    with serving(FileServer(CONTENT, ranges=False)) as server, pytest.raises(DownloadError, match=message):
        remote(server)


@pytest.mark.parametrize("blind", [False, True], ids=["honours If-Range", "ignores If-Range"])
def test_a_file_that_changes(blind):
    with serving(FileServer(CONTENT, blind=blind)) as server:
        file = remote(server, tail=10)
        server.content, server.etag = CONTENT[::-1], '"two"'
        with pytest.raises(DownloadError, match="expected the same archive of 10240 bytes throughout, got one of"):
            file.read(10)


def test_a_file_of_another_size():
    message = "expected the same archive of 10000 bytes throughout, got one of 10240"
    with serving(FileServer(CONTENT)) as server, pytest.raises(DownloadError, match=message):
        remote(server, size=10000)


def test_another_part_than_was_asked_for():
    with serving(FileServer(CONTENT, shift=3)) as server, pytest.raises(DownloadError, match="3 times in a row"):
        remote(server, tail=100)
    assert len(server.asked) == 3


def test_absurd_reads_are_refused(tmp_path):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, MOST_AT_ONCE + 2)
    with LocalFile(path) as file, pytest.raises(DownloadError, match="expected a list of files of at most 67108864 by"):
        file.read(MOST_AT_ONCE + 1)
    with serving(OnDisk(path)) as server:
        file = remote(server, tail=1)
        with pytest.raises(DownloadError, match="expected a list of files of at most 67108864 bytes, got 67108866"):
            file.read()
    assert server.spans == ["bytes=-1"]


class OnDisk(FileServer):
    def piece(self, start, end):
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def __len__(self):
        return self.content.stat().st_size


def test_an_archive_beyond_four_gigabytes(tmp_path):
    path = tmp_path / "large.zip"
    path.touch()
    os.truncate(path, 5 << 30)  # a hole: no space on the disk
    files = dataset_files("s0", "s1")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with serving(OnDisk(path)) as server:
        file = remote(server, tail=50, read_ahead=200)
        with opened_archive(file, "large") as archive:
            contents = read_contents(archive, file.size, "large")
            assert min(member.info.header_offset for member in contents.cases["s1"]) > 1 << 32
            assert {m.info.filename: archive.read(m.info) for m in contents.cases["s1"]} == {
                name: data for name, data in files.items() if name.startswith("s1/")
            }


def test_the_long_form_of_the_list_of_files(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    data = zip_of(dataset_files("s0"))
    monkeypatch.undo()
    assert b"PK\x06\x06" in data  # the ZIP64 end of the list
    with serving(FileServer(data)) as server, opened_archive(remote(server, tail=30), "long") as archive:
        contents = read_contents(archive, len(data), "long")
        assert archive.read(contents.cases["s0"][0].info) == b"scan of s0 " * 50
