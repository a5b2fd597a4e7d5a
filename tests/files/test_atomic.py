import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tomoseg.errors import OutputError
from tomoseg.files.atomic import checked_first, remove_file, whole_file, whole_folder, write_whole_text


def test_a_file_appears_at_the_end_only(tmp_path):
    target = tmp_path / "new" / "result.txt"
    with whole_file(target) as aside:
        aside.write_text("all")
        assert not target.exists()
        assert aside.parent == target.parent
        assert aside.name.startswith(".")
    assert target.read_text() == "all"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "result.txt"
    target.write_text("former")

    def interrupted():
        with whole_file(target) as aside:
            aside.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        interrupted()
    assert target.read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "No space left on device; free some space on that disk"),
        (errno.EACCES, "Permission denied; choose a folder that you may write to"),
        (errno.EIO, "check the disk and the folder"),
        (errno.ENOENT, "something removed or renamed its folder meanwhile: run the same command again"),
    ],
)
@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_faults_of_the_disk_say_what_to_do(tmp_path, whole, code, advice):
    def full():
        with whole(tmp_path / "result") as aside:
            (aside / "part" if aside.is_dir() else aside).write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(OutputError, match=rf"result: expected a writable file, got: .*{advice}"):
        full()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "result").mkdir()

    def write():
        with whole_file(tmp_path / "result") as aside:
            aside.write_text("all")

    with pytest.raises(OutputError, match="result: expected a file to write, got a folder; choose another name"):
        write()
    assert list(tmp_path.iterdir()) == [tmp_path / "result"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_stays_where_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OutputError, match="expected a file to write, got a device or a pipe; choose another"):
            write_whole_text(tmp_path / name, "all")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_a_folder_appears_at_the_end_only(tmp_path):
    target = tmp_path / "new" / "case"
    with whole_folder(target) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / "a.txt").write_text("a")
        assert not target.exists()
    assert (target / "inner" / "a.txt").read_text() == "a"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_is_there_keeps_its_other_files(tmp_path):
    target = tmp_path / "case"
    target.mkdir()
    (target / "a.txt").write_text("former")
    (target / "notes.txt").write_text("mine")
    with whole_folder(target) as aside:
        (aside / "a.txt").write_text("new")
        (aside / "inner").mkdir()
        (aside / "inner" / "b.txt").write_text("new")
        assert (target / "a.txt").read_text() == "former"
    assert {p.relative_to(target).as_posix(): p.read_text() for p in target.rglob("*.txt")} == {
        "a.txt": "new",
        "inner/b.txt": "new",
        "notes.txt": "mine",
    }
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_another_process_made_in_the_last_moment_is_written_into(tmp_path, monkeypatch):
    target, rename = tmp_path / "case", Path.rename

    def made_by_another(one, other):
        target.mkdir()
        (target / "theirs.txt").write_text("theirs")
        return rename(one, other)

    monkeypatch.setattr(Path, "rename", made_by_another)
    with whole_folder(target) as aside:
        (aside / "ours.txt").write_text("ours")
    assert sorted(path.name for path in target.iterdir()) == ["ours.txt", "theirs.txt"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_written_into_a_folder_aside_is_flushed_once_with_it(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(Path(f"/proc/self/fd/{handle}").readlink()))
    with whole_folder(tmp_path / "case") as aside:
        for name in ("ct", "masks/liver", "masks/spleen"):
            with whole_file(aside / name) as file:
                file.write_text(name)
        assert flushed == []
    inside = [path.relative_to(aside) for path in flushed[:5]]
    assert sorted(map(str, inside)) == [".", "ct", "masks", "masks/liver", "masks/spleen"]
    assert flushed[5:] == [tmp_path]
    with whole_file(tmp_path / "alone") as file:
        pass
    assert flushed[6:] == [file, tmp_path]


def test_an_error_leaves_no_folder(tmp_path):
    def interrupted(target: Path):
        with whole_folder(target) as aside:
            (aside / "half.txt").write_text("half")
            raise ValueError("stop")

    (tmp_path / "former").mkdir()
    for name in ("new", "former"):
        with pytest.raises(ValueError, match="stop"):
            interrupted(tmp_path / name)
    assert list(tmp_path.rglob("*")) == [tmp_path / "former"]


def test_names_of_any_letters_and_the_longest_length_are_written(tmp_path):
    path = tmp_path / ("\u00e9" * 124 + ".nii.gz")  # 255 bytes, which fewer letters than bytes make
    with whole_file(path) as aside:
        aside.write_text("all")
    assert path.read_text() == "all"


def test_a_name_that_is_no_utf8_is_written_as_json_reads_it_back(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_whole_text(tmp_path / "a.json", json.dumps([name], ensure_ascii=False))
    assert (tmp_path / "a.json").read_bytes() == rb'["caf\udce9"]'
    assert json.loads((tmp_path / "a.json").read_text()) == [name]


def test_a_check_is_made_before_each_change_and_prevents_it(tmp_path):
    """A change that comes from another thread, such as into a temporary folder, is not checked."""
    (tmp_path / "there").mkdir()
    for name in ("there/a.txt", "file.txt"):
        (tmp_path / name).write_text("former")
    files = [tmp_path / name for name in ("there/a.txt", "there/b.txt", "file.txt", "new/a.txt")]
    seen = []

    def check():
        seen.append([file.read_text() if file.exists() else None for file in files])
        if len(seen) == 6:
            raise OutputError("expected nobody else, got one; wait")

    with checked_first(check):
        with whole_folder(tmp_path / "there") as aside:
            for name in ("a.txt", "b.txt"):
                (aside / name).write_text("new")
        assert len(seen) == 4
        write_whole_text(tmp_path / "file.txt", "new")
        assert len(seen) == 5
        with pytest.raises(OutputError, match="expected nobody else"):
            write_whole_text(tmp_path / "new" / "a.txt", "new")
    assert seen[2:] == [
        ["former", None, "former", None],
        ["new", None, "former", None],
        ["new", "new", "former", None],
        ["new", "new", "new", None],
    ]
    assert [file.exists() for file in files] == [True, True, True, False]
    remove_file(tmp_path / "file.txt")
    assert len(seen) == 6  # the block has ended
    with checked_first(check), ThreadPoolExecutor(1) as pool:
        pool.submit(write_whole_text, tmp_path / "file.txt", "newest").result()
        remove_file(tmp_path / "file.txt")
    assert len(seen) == 7
