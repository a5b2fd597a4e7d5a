"""Checks, before a command begins, that its output can be written."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tomoseg.errors import OutputError
from tomoseg.files.asides import remove_left_overs
from tomoseg.files.atomic import ADVICE, mode_at, refuse_other_than_file

_TRIED_BYTES = 4096
"""Bytes written to a temporary file as a test, which fails on a full disk."""


def check_file(path: Path) -> None:
    """Check that a file can be written.

    Args:
        path: The file; it and its folder may be missing.

    Raises:
        OutputError: If it is a folder, a device or a pipe, or its folder cannot be made or written into.

    Example:
        >>> check_file(Path("new/folder/result.json"))
        >>> check_file(Path("."))
        Traceback (most recent call last):
        ...
        tomoseg.errors.OutputError: .: expected a file to write, got a folder; choose another name
    """
    check_place(path)
    refuse_other_than_file(path)


def check_folder(path: Path, files: Iterable[str] = ()) -> None:
    """Check that a folder can be made and written to.

    Args:
        path: The folder; it and its parents may be missing.
        files: Names of the files that will be written to it.

    Raises:
        OutputError: If it is a file, cannot be written to, is on a full disk, or one of the files cannot be written.
    """
    there = check_place(path)
    if not _is_folder(there):
        raise OutputError(f"{path}: expected a folder to write into, got a {_called(there)}; choose another output")
    for name in files:
        _check_names(path / name, there)
        refuse_other_than_file(path / name)


def begin_folder(path: Path, files: Iterable[str] = ()) -> None:
    """Check a folder as `check_folder` does, and remove temporary files that killed commands left in it.

    Args:
        path: The folder; it and its parents may be missing.
        files: Names of the files that will be written to it.

    Raises:
        OutputError: If it, or one of the files, cannot be written.
    """
    check_folder(path, files)
    remove_left_overs(path)


def check_place(path: Path) -> Path:
    """Check that a file or a folder can be made at a path.

    Args:
        path: The path; it and its parents may be missing.

    Returns:
        The path itself or its nearest parent that exists.

    Raises:
        OutputError: If that parent is a file, cannot be written to, or is on a full disk, or if a name is too long for
            the file system.
    """
    absolute = path.absolute()
    there = next(one for one in (absolute, *absolute.parents) if os.path.lexists(one))
    folder = there.parent if there == absolute and not _is_folder(there) else there
    if not _is_folder(folder):
        got = f"the {_called(folder)} {folder}"
        raise OutputError(f"{path}: expected a folder to write into, got {got}; choose another output")
    _check_names(path, folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as tried:
            tried.write(bytes(_TRIED_BYTES))
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "check the disk and the folder")
        reason = error.strerror or error
        raise OutputError(f"{path}: expected a writable folder {folder}, got: {reason}; {advice}") from None
    return there


def check_space(folder: Path, needed_bytes: int) -> None:
    """Check that there is enough free space on a disk.

    Args:
        folder: The folder to write to; it may be missing.
        needed_bytes: Number of bytes to write.

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


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(mode_at(path) or 0)


def _called(path: Path) -> str:
    return "broken link" if mode_at(path) is None else "file"


def _check_names(path: Path, there: Path) -> None:
    longest = _longest_name(there)
    for part in path.absolute().relative_to(there).parts:
        if len(os.fsencode(part)) > longest:
            raise OutputError(
                f"{path}: expected names of up to {longest} bytes, got one of {len(os.fsencode(part))}; choose "
                "a shorter name for the output, or rename the scan"
            )


def _longest_name(folder: Path) -> int:
    """Return the maximum bytes of a file name in a folder."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows
        return 255
