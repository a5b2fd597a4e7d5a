"""Whether an output can be made: asked before the work, so that none is lost for want of a place."""

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
"""Written and forgotten where an output is to lie: a full disk takes no more."""


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written.

    Args:
        path: It need not be there, nor its folder.

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
    """Refuse a folder that cannot be made or written into.

    Args:
        path: It need not be there, nor what it lies in.
        files: What will be written into it, by name.

    Raises:
        OutputError: If it is a file, may not be written to, lies on a full disk, or one of the files cannot be written.
    """
    there = check_place(path)
    if not _is_folder(there):
        raise OutputError(f"{path}: expected a folder to write into, got a {_called(there)}; choose another output")
    for name in files:
        _check_names(path / name, there)
        refuse_other_than_file(path / name)


def begin_folder(path: Path, files: Iterable[str] = ()) -> None:
    """Refuse a folder as `check_folder` does; what commands that were killed left aside in it goes.

    Args:
        path: It need not be there, nor what it lies in.
        files: What will be written into it, by name.

    Raises:
        OutputError: As of `check_folder`.
    """
    check_folder(path, files)
    remove_left_overs(path)


def check_place(path: Path) -> Path:
    """Refuse a place where neither a file nor a folder can be put.

    Args:
        path: It need not be there, nor what it lies in.

    Returns:
        Of the path and what it lies in the nearest that is there.

    Raises:
        OutputError: If what it lies in is a file, may not be written to, or lies on a full disk, or if a name is longer
            than names can be there.
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
        raise OutputError(f"{path}: expected to write into {folder}, got: {reason}; {advice}") from None
    return there


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


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(mode_at(path) or 0)


def _called(path: Path) -> str:
    return "link that leads nowhere" if mode_at(path) is None else "file"


def _check_names(path: Path, there: Path) -> None:
    longest = _longest_name(there)
    for part in path.absolute().relative_to(there).parts:
        if len(os.fsencode(part)) > longest:
            raise OutputError(
                f"{path}: expected names of up to {longest} bytes, got one of {len(os.fsencode(part))}; name the "
                "output, or rename the scan"
            )


def _longest_name(folder: Path) -> int:
    """Bytes of the longest name that files in a folder can have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows
        return 255
