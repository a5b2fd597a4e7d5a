"""Names from files and archives, which cannot be trusted and may hold data that messages must not show."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

_UID = re.compile(r"\d+(\.\d+){4,}")


def without_uids(name: str) -> str:
    """Replace DICOM UIDs in a name by `UID`.

    Example:
        >>> without_uids("CT.1.2.840.113619.2.5.dcm")
        'CT.UID.dcm'
    """
    return _UID.sub("UID", os.fsencode(name).decode("utf-8", "replace"))


def shown(path: Path, folder: Path) -> str:
    """Return a path for messages: relative to a folder that the user named, without UIDs.

    Args:
        path: A path in the folder; another path is shown whole.
        folder: The folder that the user named.
    """
    inside = path.relative_to(folder) if path.is_relative_to(folder) else path
    return without_uids(inside.as_posix())


def real(path: Path) -> Path:
    """Return an absolute path without links; a link that leads back to itself, at which `resolve` fails, is kept.

    Example:
        >>> real(Path(os.curdir)) == Path.cwd().resolve()
        True
    """
    return Path(os.path.realpath(path))


def fitting(stem: str, suffix: str, longest: int = 255) -> str:
    """Return a file name of limited length: the end of a longer one is replaced by a digest, so that names differ.

    Args:
        stem: The name without its suffix.
        suffix: The suffix, which is kept.
        longest: Maximum bytes.

    Example:
        >>> fitting("case_liver", ".png"), fitting("a" * 20, ".png", 16)
        ('case_liver.png', 'aaa_42492da0.png')
    """
    if len(os.fsencode(stem + suffix)) <= longest:
        return stem + suffix
    ending = f"_{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{suffix}"
    while len(os.fsencode(stem + ending)) > longest:
        stem = stem[:-1]
    return stem + ending


def lacking(path: Path) -> str:
    """Return the end of a message about a path that does not exist, with advice.

    Example:
        >>> lacking(Path("none.nii.gz"))
        'nothing of that name; check the path'
    """
    if path.is_symlink():
        return "a link to a file that is not there; bring that file back, or fetch it (git annex get)"
    return "nothing of that name; check the path"


def climbs(name: str) -> bool:
    """Whether a relative path is empty, invalid, absolute, or leads out of its folder, on any operating system."""
    return (
        not name
        or "\0" in name
        or any(
            kind(name).is_absolute() or kind(name).drive or kind(name).root or ".." in kind(name).parts
            for kind in (PurePosixPath, PureWindowsPath)
        )
    )
