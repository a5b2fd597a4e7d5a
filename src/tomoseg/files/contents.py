"""All files that a scan or a mask consists of: slices in folders, and files of voxels beside a header."""

from __future__ import annotations

from pathlib import Path

from tomoseg.files.itk.detached import detached
from tomoseg.files.scan import look_at_file
from tomoseg.files.source import walk


def files_of(path: Path) -> list[tuple[str, Path]]:
    """Return the files of a scan or a mask, each with a name that stays the same if they are moved together.

    Args:
        path: A file or a folder. If it cannot be read, it stands for itself, and reading reports the error.

    Example:
        >>> files_of(Path("ct.nii.gz"))
        [('ct.nii.gz', PosixPath('ct.nii.gz'))]
    """
    try:
        if path.is_dir():
            found = sorted(file.path for folder in walk(path) for file in folder.files)
            return [(file.relative_to(path.parent).as_posix(), file) for file in found]
        beside = [file.path for file in detached(look_at_file(path))] if path.is_file() else []
    except OSError:
        beside = []
    return [(path.name, path), *((file.name, file) for file in beside)]
