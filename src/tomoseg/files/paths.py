"""Names that come from files and archives: they may not be trusted, and may hold what messages must not."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

_UID = re.compile(r"\d+(\.\d+){4,}")


def without_uids(name: str) -> str:
    """A name without the identifiers that DICOM writers put into it.

    Example:
        >>> without_uids("CT.1.2.840.113619.2.5.dcm")
        'CT.UID.dcm'
    """
    return _UID.sub("UID", os.fsencode(name).decode("utf-8", "replace"))


def shown(path: Path, folder: Path) -> str:
    """A path as messages have it: from a folder that the user named, without identifiers.

    Args:
        path: In the folder; another path is shown whole.
        folder: What the user named.
    """
    inside = path.relative_to(folder) if path.is_relative_to(folder) else path
    return without_uids(inside.as_posix())


def fitting(stem: str, suffix: str, longest: int = 255) -> str:
    """A file's name that the disk takes: of a longer one the end gives way to a digest, so that no two are the same.

    Args:
        stem: As it would be.
        suffix: Stays.
        longest: Bytes.

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
    """What to say of a path where nothing is, as the end of a sentence with what to do.

    Example:
        >>> lacking(Path("none.nii.gz"))
        'nothing of that name; check the path'
    """
    if path.is_symlink():
        return "a link to a file that is not there; bring that file back, or fetch it (git annex get)"
    return "nothing of that name; check the path"


def climbs(name: str) -> bool:
    """Whether a name leads out of the place that it is given for, or is none, on any system."""
    return (
        not name
        or "\0" in name
        or any(
            kind(name).is_absolute() or kind(name).drive or kind(name).root or ".." in kind(name).parts
            for kind in (PurePosixPath, PureWindowsPath)
        )
    )
