import errno
import os
import signal
import sys
import warnings
from pathlib import Path

import pytest

from tomoseg.errors import OutputError
from tomoseg.files import asides
from tomoseg.files.asides import aside_of, remove_left_over, remove_left_overs
from tomoseg.files.atomic import folder_aside, whole_file, whole_folder

fcntl = pytest.importorskip("fcntl")

ID = "0123456789ab"


def killed_while_writing(whole, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
        child = os.fork()
    if child == 0:
        with whole(path) as aside:
            (aside / "half" if aside.is_dir() else aside).write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_what_a_killed_process_left_is_removed(tmp_path, whole):
    killed_while_writing(whole, tmp_path / "ct.nii.gz")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".ct.nii.gz.")
    for other in ("other.nii.gz", "ct.nii", ".ct.nii.gz"):
        remove_left_over(tmp_path / other)
    assert list(tmp_path.iterdir()) == [left]
    remove_left_over(tmp_path / "ct.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whole", [whole_file, folder_aside])
def test_what_another_is_writing_stays(tmp_path, whole):
    with whole(tmp_path / "a") as one, whole(tmp_path / ".b.part") as two:
        there = sorted(tmp_path.iterdir())
        remove_left_overs(tmp_path)
        assert sorted(tmp_path.iterdir()) == there == sorted([one, two])


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_what_killed_processes_left_in_a_folder_goes_when_the_next_first_writes_into_it(tmp_path, whole):
    """Whichever folder it is; what another is writing stays, and so does what is not ours."""
    inner = tmp_path / "out" / "inner"
    inner.mkdir(parents=True)
    killed_while_writing(whole, inner / "other")
    (inner / ".mine.part").write_text("mine")
    with folder_aside(tmp_path / "out" / "a"):
        assert len(list(inner.iterdir())) == 2
    with whole(inner / "b") as aside:
        assert {path.name for path in inner.iterdir()} == {".mine.part", aside.name}
        asides._tidied.clear()  # as if this process had not written into it yet; the other one is locked
        with whole(inner / "c") as second:
            assert {path.name for path in inner.iterdir()} == {".mine.part", aside.name, second.name}
    assert sorted(path.name for path in inner.iterdir()) == [".mine.part", "b", "c"]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_what_is_removed_before_it_is_locked_is_made_anew(tmp_path, monkeypatch, whole):
    """Another process removes what is left over exactly between the making and the locking."""
    make, made = {whole_file: Path.touch, whole_folder: Path.mkdir}[whole], []

    def make_and_lose(path, *given, **named):
        make(path, *given, **named)
        if path.name.endswith(".part"):
            made.append(path)
            if len(made) < 3:
                remove_left_overs(tmp_path)
                assert not path.exists()

    monkeypatch.setattr(Path, make.__name__, make_and_lose)
    with whole(tmp_path / "a") as aside:
        (aside / "b" if aside.is_dir() else aside).write_text("all of it")
    assert len(made) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_another_process_is_removing_is_made_anew(tmp_path, monkeypatch):
    """It has locked it, and has not removed it yet."""
    touch, made, handles = Path.touch, [], []

    def touch_and_lock(path, *given, **named):
        touch(path, *given, **named)
        made.append(path)
        if len(made) == 1:
            handles.append(os.open(path, os.O_RDONLY))
            fcntl.flock(handles[0], fcntl.LOCK_EX)

    monkeypatch.setattr(Path, "touch", touch_and_lock)
    with whole_file(tmp_path / "a") as aside:
        aside.write_text("all of it")
    os.close(handles[0])
    assert (len(made), aside) == (2, made[1])
    assert (tmp_path / "a").read_text() == "all of it"


def killed_at(rename, path):
    """Replace a folder in another process that is killed just before or after its n-th renaming; None counts them.

    Args:
        rename: The number of the renaming, and whether the process is killed after it.
        path: The folder.
    """
    number, is_after = rename
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    done = []

    def counted(do):
        def step(*given):
            done.append(do)
            if len(done) == number and not is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return do(*given)
            finally:
                if len(done) == number and is_after:
                    os.kill(os.getpid(), signal.SIGKILL)

        return step

    asides.exchanged, Path.rename = counted(asides.exchanged), counted(Path.rename)
    with whole_folder(path, replace=True) as aside:
        (aside / "new").write_text("new")
    os._exit(0)


@pytest.mark.parametrize("is_exchanged", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_folder_that_is_replaced_is_there_whole_wherever_its_process_is_killed(
    tmp_path, monkeypatch, is_exchanged, number, is_after
):
    """Exchanging takes one step, in which the name is never missing; without it, what was there gets its name back.

    Of the four steps the second, to put the new one over the former, fails since something is in that.
    """
    if not is_exchanged:
        monkeypatch.setattr(asides, "exchanged", lambda new, path: False)
    elif sys.platform != "linux":
        pytest.skip("exchanging needs Linux")
    path = tmp_path / "case"
    path.mkdir()
    (path / "former").write_text("former")
    is_killed = killed_at((number, is_after), path)
    assert is_killed == (number == 1 or not is_exchanged)
    assert path.exists() or not is_exchanged
    asides._tidied.clear()
    remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    steps_done = number - (not is_after)
    is_new = steps_done == (1 if is_exchanged else 4) or not is_killed
    assert [one.name for one in path.iterdir()] == ["new" if is_new else "former"]


def test_a_folder_that_is_not_replaced_after_all_keeps_its_name(tmp_path, monkeypatch):
    """Of the renames, the second one fails: that of the new folder to the name which the former has just lost."""
    monkeypatch.setattr(asides, "exchanged", lambda new, path: False)
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "former").touch()
    rename = Path.rename

    def full(one, other):
        if one.suffix == ".part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(one, other)

    monkeypatch.setattr(Path, "rename", full)

    def replaced():
        with whole_folder(tmp_path / "case", replace=True) as aside:
            (aside / "new").touch()

    with pytest.raises(OutputError, match="case: expected a writable file, got: No space left on device; free some"):
        replaced()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["case", "case/former"]


def test_a_folder_being_replaced_stays_while_its_process_lives(tmp_path, monkeypatch):
    """Another process that looks between the two renamings leaves it alone, and so does one of the users'."""
    monkeypatch.setattr(asides, "exchanged", lambda new, path: False)
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "former").touch()
    (tmp_path / ".mine.old").mkdir()
    rename, seen = Path.rename, []

    def looked_at_first(one, other):
        remove_left_overs(tmp_path)
        seen.append(sorted(path.suffix for path in tmp_path.iterdir()))
        return rename(one, other)

    monkeypatch.setattr(Path, "rename", looked_at_first)
    with whole_folder(tmp_path / "case", replace=True) as aside:
        (aside / "new").write_text("new")
    assert seen == [["", ".old", ".part"], ["", ".old", ".part"], [".old", ".old", ".part"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.old", "case"]
    assert [path.name for path in (tmp_path / "case").iterdir()] == ["new"]


def test_a_linked_folder_is_replaced_and_what_it_leads_to_stays(tmp_path, monkeypatch):
    for is_exchanged in (True, False):
        if not is_exchanged:
            monkeypatch.setattr(asides, "exchanged", lambda new, path: False)
        place = tmp_path / str(is_exchanged)
        (place / "mine").mkdir(parents=True)
        (place / "mine" / "file").write_text("mine")
        (place / "case").symlink_to(place / "mine")
        with whole_folder(place / "case", replace=True) as aside:
            (aside / "new").write_text("new")
        assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == [
            "case", "case/new", "mine", "mine/file"
        ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "ct.nii.gz.part",
        ".ct.nii.gz.part",
        f"ct.nii.gz.{ID}.part",
        f".{ID}.part",
        f".ct.nii.gz.{ID[:-1]}.part",
        f".ct.nii.gz.{ID.upper()}.part",
        f".ct.nii.gz.{ID}.part.zip",
        f"ct.nii.gz.{ID}.old",
        f".ct.nii.gz.{ID[:-1]}.old",
        f".ct.nii.gz.{ID}.part.{ID}.part",
    ],
)
def test_files_of_the_users_stay(tmp_path, name):
    (tmp_path / name).write_text("mine")
    remove_left_overs(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_what_lay_aside_of_something_aside_is_removed(tmp_path):
    aside_of(aside_of(tmp_path / ".odd name\n")).mkdir()
    (tmp_path / "inner").mkdir()
    deep = aside_of(tmp_path / "inner" / "a")
    deep.touch()
    remove_left_overs(tmp_path)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "inner", deep]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    aside_of(tmp_path / "a").symlink_to(tmp_path / "mine")
    remove_left_overs(tmp_path)
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_a_folder_that_is_not_there(tmp_path):
    remove_left_overs(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
