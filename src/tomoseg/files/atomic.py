"""Files and folders that appear whole or not at all.

A result is written aside, in the folder where it will lie and under a hidden name that ends in `.part`, flushed
to the disk, and renamed. Whatever interrupts it, nobody finds half a result under its name. Where a place stands for
one of a store (`files.stores`), it goes on to there, object by object.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tomoseg.errors import OutputError
from tomoseg.files.asides import aside_of, locked
from tomoseg.files.stores.addresses import in_urls
from tomoseg.files.stores.upload import remove_objects, upload

ODD_NAMES: Literal["backslashreplace"] = "backslashreplace"
"""How a text file takes names that are no UTF-8: as escapes, so that nothing is lost for the sake of a name."""

ADVICE = {
    errno.ENOSPC: "free some space on that disk or choose another one",
    errno.EDQUOT: "free some of your quota or choose another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.EISDIR: "choose a name that is not a folder's",
    errno.ENOTDIR: "choose a folder, not a file, to write into",
    errno.EEXIST: "choose a folder, not a file, to write into",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "choose another place: a link leads to itself",
}
"""What to do about an error of writing."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file aside and give it its name when the block ends without an error.

    The folder is made if it is missing; a former file of that name is replaced. On any error, an
    interruption included, the former file stays and nothing else is left.

    Args:
        path: The file to appear.

    Yields:
        Where to write it: an empty file beside it.

    Raises:
        OutputError: If the disk is full, the folder may not be written to, or the like.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with whole_file(target) as aside:
        ...     _ = aside.write_text("all of it")
        >>> target.read_text()
        'all of it'
    """
    refuse_other_than_file(path)
    with errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = aside_of(path)
        try:
            aside.touch()
            with locked(aside):
                yield aside
                _flush(aside)
                upload({path: aside})
                aside.replace(path)
                _flush_folder(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def write_whole_text(path: Path, text: str) -> None:
    r"""Write a text as `whole_file` does, in UTF-8; of a name that is no UTF-8 the odd bytes are written escaped.

    A path of the cache that stands for an object of a store is written as the URL of that.
    A byte E9 in a file's name becomes `\udce9`, which JSON reads back as the same name.

    Raises:
        OutputError: If the disk is full, the folder may not be written to, or the like.
    """
    with whole_file(path) as aside:
        aside.write_text(in_urls(text), encoding="utf-8", errors=ODD_NAMES)


@contextlib.contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a folder aside and give it its name when the block ends without an error.

    If the folder is there already, the new files are moved into it one by one, each replacing its
    namesake; other files in it stay. On any error, an interruption included, nothing is left behind.

    Args:
        path: The folder to appear.
        replace: Let the new folder take the place of one that is there, whose files all go.

    Yields:
        An empty folder beside it, to be filled.

    Raises:
        OutputError: If the disk is full, the folder may not be written to, or the like.
    """
    with errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_aside(path) as aside:
            yield aside
            _flush_all(aside)
            files = {path / file.relative_to(aside): file for file in sorted(_files_in(aside), key=_is_record)}
            if replace and path.exists():
                former = aside_of(path)
                remove_objects(file for file in _files_in(path) if file not in files or _is_record(file))
                upload(files)
                path.rename(former)
                aside.rename(path)
                shutil.rmtree(former, ignore_errors=True)
            else:
                upload(files)
                _move_into_place(aside, path)


@contextlib.contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """An empty folder beside a path, under a hidden name; it is removed when the block ends.

    It is locked meanwhile, so that `remove_left_over` can tell it from one whose process was killed.

    Args:
        path: What it lies beside, in a folder that is there.
    """
    aside = aside_of(path)
    aside.mkdir()
    try:
        with locked(aside):
            yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def refuse_other_than_file(path: Path) -> None:
    """Refuse to put a file where a folder, a device or a pipe is: renamed over it, a file would take its place.

    Raises:
        OutputError: If one is there, or the path has no name.
    """
    mode = mode_at(path)
    got = None if mode is None or stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    if got is not None or not path.name:
        raise OutputError(f"{path}: expected a file to write, got {got or 'no name'}; choose another name")


def mode_at(path: Path) -> int | None:
    """What lies at a path, or where its links lead, as the system says it; None where nothing does.

    Where it may not be known, too: `Path.is_dir` and its kind raise an error there.
    """
    try:
        return path.stat().st_mode
    except OSError:
        return None


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        OutputError: If the folder may not be written to, or the like.
    """
    with errors_told(path):
        path.unlink(missing_ok=True)
        remove_objects([path])


def _is_record(path: Path) -> bool:
    """Whether a file says of others that they are whole."""
    return path.suffix == ".json"


def _move_into_place(aside: Path, path: Path) -> None:
    if not path.exists():
        aside.rename(path)
    else:
        for file in _files_in(aside):
            target = path / file.relative_to(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        _flush_folder(path)
    _flush_folder(path.parent)


def _files_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _flush_all(folder: Path) -> None:
    for file in _files_in(folder):
        _flush(file)
    for inner in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        _flush_folder(inner)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Make a rename last; not every system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def errors_told(path: Path) -> Iterator[None]:
    """Turn the system's errors of writing into ours.

    Raises:
        OutputError: If the disk is full, the folder may not be written to, or the like.
    """
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "check the disk and the folder")
        raise OutputError(f"{path}: expected to write it, got: {error.strerror or error}; {advice}") from error
