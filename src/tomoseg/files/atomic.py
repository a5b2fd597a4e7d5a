"""Atomic writing of files and folders.

A result is written under a hidden temporary name in the same folder, flushed to the disk, and renamed, so that an
interruption never leaves an incomplete result under its name. If the path stands for one in a store (`files.stores`),
the result is then uploaded, object by object.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from tomoseg.errors import OutputError
from tomoseg.files.asides import in_aside, made_aside, put_in_place, remove_any
from tomoseg.files.stores.addresses import in_urls
from tomoseg.files.stores.upload import remove_objects, upload

ODD_NAMES: Literal["backslashreplace"] = "backslashreplace"
"""Error handler for writing names that are not valid UTF-8 to text files: as escapes."""

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
    errno.ELOOP: "choose another folder: a link points to itself",
    errno.ENOENT: "something removed or renamed its folder meanwhile: run the same command again",
}
"""Advice by the number of an error in writing."""

_CHECKS: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("_CHECKS", default=())


@contextlib.contextmanager
def checked_first(check: Callable[[], None]) -> Iterator[None]:
    """Run a check immediately before each change of a visible file that this thread makes in the block.

    Args:
        check: Raises an `OutputError` if the change must not be made.
    """
    token = _CHECKS.set((*_CHECKS.get(), check))
    try:
        yield
    finally:
        _CHECKS.reset(token)


def _check() -> None:
    for check in _CHECKS.get():
        check()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file atomically: it gets its name when the block ends without an error.

    The folder is made if it is missing; an existing file of that name is replaced. On any error, including an
    interruption, the existing file stays and nothing else is left.

    Args:
        path: The file to write.

    Yields:
        An empty temporary file in the same folder, to write to.

    Raises:
        OutputError: If the disk is full, the folder cannot be written to, or the like.

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
        with made_aside(path, Path.touch) as aside:
            yield aside
            flushed_later = in_aside(path.parent)  # with the folder that is being written
            if not flushed_later:
                _flush(aside)
            _check()
            upload({path: aside})
            aside.replace(path)
            if not flushed_later:
                _flush_folder(path.parent)


def write_whole_text(path: Path, text: str) -> None:
    r"""Write a UTF-8 text atomically; invalid bytes in file names are escaped.

    A path in the cache that stands for an object in a store is written as its URL.
    A byte E9 in a file's name becomes `\udce9`, which JSON reads back as the same name.

    Raises:
        OutputError: If the disk is full, the folder cannot be written to, or the like.
    """
    with whole_file(path) as aside:
        aside.write_text(in_urls(text), encoding="utf-8", errors=ODD_NAMES)


@contextlib.contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Write a folder atomically: it gets its name when the block ends without an error.

    If the folder already exists, the new files are moved into it one by one and replace files of the same name; other
    files in it stay. On any error, including an interruption, nothing is left behind.

    Args:
        path: The folder to write.
        replace: Whether to replace an existing folder with all its files instead.

    Yields:
        An empty temporary folder beside it, to be filled.

    Raises:
        OutputError: If the disk is full, the folder cannot be written to, or the like.
    """
    with errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_aside(path) as aside:
            yield aside
            _flush_all(aside)
            files = {path / file.relative_to(aside): file for file in sorted(_files_in(aside), key=_is_record)}
            _check()
            if replace and path.exists():
                remove_objects(file for file in _files_in(path) if file not in files or _is_record(file))
                upload(files)
                former = put_in_place(aside, path)
                _flush_folder(path.parent)
                remove_any(former)
            else:
                upload(files)
                _move_into_place(aside, path)


@contextlib.contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Make an empty temporary folder beside a path; it is removed when the block ends.

    It is locked meanwhile, so that `remove_left_over` can tell it from one whose process was killed.

    Args:
        path: The path that it lies beside, in an existing folder.
    """
    with made_aside(path, Path.mkdir) as aside:
        yield aside


def refuse_other_than_file(path: Path) -> None:
    """Refuse to write a file over a folder, a device or a pipe, which renaming would replace.

    Raises:
        OutputError: If one exists at the path, or the path has no name.
    """
    mode = mode_at(path)
    got = None if mode is None or stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    if got is not None or not path.name:
        raise OutputError(f"{path}: expected a file to write, got {got or 'no name'}; choose another name")


def mode_at(path: Path) -> int | None:
    """Return the mode of a path, following links; None if nothing is there.

    None also if it cannot be accessed, where `Path.is_dir` and the like raise an error.
    """
    try:
        return path.stat().st_mode
    except OSError:
        return None


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        OutputError: If the folder cannot be written to, or the like.
    """
    _check()
    with errors_told(path):
        path.unlink(missing_ok=True)
        remove_objects([path])


def link_or_copy(file: Path, path: Path) -> None:
    """Make a hard link of a file, or a copy on file systems without them.

    Args:
        file: The file.
        path: Its other path, in a folder that exists.
    """
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)


def _is_record(path: Path) -> bool:
    """Whether a file is a record, which marks a result as complete and therefore comes last."""
    return path.suffix == ".json"


def _move_into_place(aside: Path, path: Path) -> None:
    _check()
    if path.exists() or not _gets_name(aside, path):
        for file in sorted(_files_in(aside), key=_is_record):
            target = path / file.relative_to(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            _check()
            file.replace(target)
        _flush_folder(path)
    _flush_folder(path.parent)


def _gets_name(aside: Path, path: Path) -> bool:
    """Rename a folder; return False if another process has made one of that name meanwhile.

    Raises:
        OSError: If it cannot be renamed.
    """
    try:
        aside.rename(path)
    except OSError:
        if path.is_dir():
            return False
        raise
    return True


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
    """Flush a rename to the disk, if the system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def errors_told(path: Path) -> Iterator[None]:
    """Turn the system's errors in writing into `OutputError`.

    Raises:
        OutputError: If the disk is full, the folder cannot be written to, or the like.
    """
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "check the disk and the folder")
        raise OutputError(f"{path}: expected a writable file, got: {error.strerror or error}; {advice}") from error
