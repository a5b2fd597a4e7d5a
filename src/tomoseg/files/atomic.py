"""Files and folders that appear whole or not at all.

A result is written aside, in the folder where it will lie and under a hidden name that ends in `.part`, flushed
to the disk, and renamed. Whatever interrupts it, nobody finds half a result under its name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tomoseg.errors import OutputError

ODD_NAMES: Literal["backslashreplace"] = "backslashreplace"
"""How a text file takes names that are no UTF-8: as escapes, so that nothing is lost for the sake of a name."""

_ASIDE_BYTES = 20
"""Of a name aside, beside the name itself."""

_ADVICE = {
    errno.ENOSPC: "free some space on that disk or choose another one",
    errno.EDQUOT: "free some of your quota or choose another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.EISDIR: "choose a name that is not a folder's",
    errno.ENOTDIR: "choose a folder, not a file, to write into",
    errno.EEXIST: "choose a folder, not a file, to write into",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file aside and give it its name when the block ends without an error.

    The folder is made if it is missing; a former file of that name is replaced. On any error, an
    interruption included, the former file stays and nothing else is left.

    Args:
        path: The file to appear.

    Yields:
        Where to write it: a path beside it that does not exist yet.

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
    with errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(path)
        try:
            yield aside
            _flush(aside)
            aside.replace(path)
            _flush_folder(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def write_whole_text(path: Path, text: str) -> None:
    r"""Write a text as `whole_file` does, in UTF-8; of a name that is no UTF-8 the odd bytes are written escaped.

    A byte E9 in a file's name becomes `\udce9`, which JSON reads back as the same name.

    Raises:
        OutputError: If the disk is full, the folder may not be written to, or the like.
    """
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8", errors=ODD_NAMES)


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
        aside = _aside(path)
        aside.mkdir()
        try:
            yield aside
            _flush_all(aside)
            if replace and path.exists():
                former = _aside(path)
                path.rename(former)
                aside.rename(path)
                shutil.rmtree(former, ignore_errors=True)
            else:
                _move_into_place(aside, path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Refuse a place that cannot be written to, before hours are spent on what is to lie there.

    Raises:
        OutputError: If the folder may not be written to, or is a file, or the name is longer than names can be there.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise OutputError(f"{path}: expected a folder to write into, got the file {folder}; choose another output")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: expected a folder to write into, got no permission for {folder}; choose another")
    longest = _longest_name(folder)
    for part in path.absolute().relative_to(folder).parts:
        if len(os.fsencode(part)) > longest:
            raise OutputError(
                f"{path}: expected names of up to {longest} bytes, got one of {len(os.fsencode(part))}; name the "
                "output, or rename the scan"
            )


def check_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to begin with what will not fit onto the disk.

    Args:
        folder: Where it is to lie; it need not be there yet.
        needed_bytes: How much is to be written.

    Raises:
        OutputError: If less is free.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed_bytes:
        raise OutputError(
            f"{folder}: expected {needed_bytes / 1e9:.2f} GB of free space, got {free / 1e9:.2f} GB; "
            "free some space on that disk or choose another one"
        )


def remove_file(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        OutputError: If the folder may not be written to, or the like.
    """
    with errors_told(path):
        path.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    start = os.fsencode(path.name)[: 255 - _ASIDE_BYTES].decode("utf-8", "ignore")
    return path.with_name(f".{start}.{uuid.uuid4().hex[:12]}.part")


def _longest_name(folder: Path) -> int:
    """Bytes of the longest name that files in a folder can have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows
        return 255


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
        advice = _ADVICE.get(error.errno or 0, "check the disk and the folder")
        raise OutputError(f"{path}: expected to write it, got: {error.strerror or error}; {advice}") from error
