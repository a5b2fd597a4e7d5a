"""What lies at a path, looked at once: folders are listed and first bytes are read here, and the record travels.

Nothing here needs to know a format: `scan.look` tells formats apart, and readers take what was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ScanKind = Literal["dicom", "zip", "nifti", "nrrd", "metaimage"]
"""What a scan is read as. A `zip` holds DICOM; `dicom` is a folder of files, or one file."""

START_BYTES = 132
"""Bytes at the start of a file that tell all formats apart."""

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its folder was listed.

    Attributes:
        path: The file.
        size: Its length in bytes.
        modified_ns: When it was last written to, in nanoseconds since 1970; whoever copies a file may set it.
        changed_ns: When anything of it last changed, which nobody can set; on Windows when it was made.
    """

    path: Path = field(repr=False)
    size: int
    modified_ns: int
    changed_ns: int = 0

    @classmethod
    def at(cls, path: Path) -> SourceFile:
        """The file at a path.

        Raises:
            OSError: If there is none, or nothing may be known of it.
        """
        return cls._of(path, path.stat())

    @classmethod
    def _of(cls, path: Path, state: os.stat_result) -> SourceFile:
        return cls(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@dataclass(frozen=True)
class ScanSource:
    """A scan before it is read: what it is and which files it may be read from. It can be pickled.

    Attributes:
        kind: What it is read as.
        path: What messages call it: the folder, archive or file.
        files: The files at the path as they were when it was looked at; none where nothing is there. Files beside a
            scan's own, such as damaged ones or a text, are among them.
        first_images: What the first DICOM file says of its images, if it was read to know that it is DICOM; opaque to
            everyone but `files.dicom`.
    """

    kind: ScanKind
    path: Path
    files: tuple[SourceFile, ...] = field(repr=False)
    first_images: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    @property
    def is_dicom(self) -> bool:
        """Whether it is DICOM, packed or not."""
        return self.kind in {"dicom", "zip"}


@dataclass(frozen=True)
class Folder:
    """What lies in a folder, sorted by name, without hidden names.

    Attributes:
        path: The folder.
        files: Its files.
        folders: Its folders.
        linked: Links to folders, which `walk` does not follow.
    """

    path: Path
    files: tuple[SourceFile, ...]
    folders: tuple[Path, ...]
    linked: tuple[Path, ...]

    def walk(self) -> Iterator[SourceFile]:
        """Files in this folder and below it, folder by folder; each folder below is listed once, when it is reached.

        Raises:
            OSError: If a folder cannot be listed.
        """
        inside: dict[str, SourceFile | Path] = {file.path.name: file for file in self.files}
        inside |= {path.name: path for path in self.folders}
        for name in sorted(inside):
            found = inside[name]
            if isinstance(found, SourceFile):
                yield found
            else:
                yield from list_folder(found).walk()


def list_folder(path: Path) -> Folder:
    """List a folder, once.

    Raises:
        OSError: If it cannot be listed.
    """
    files, folders, linked = [], [], []
    with os.scandir(path) as listing:
        for entry in sorted(listing, key=lambda entry: entry.name):
            inside = path / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                if inside.is_dir():
                    linked.append(inside)
                elif inside.is_file():
                    files.append(SourceFile.at(inside))
            elif entry.is_dir():
                folders.append(inside)
            elif entry.is_file():
                files.append(SourceFile._of(inside, entry.stat()))
    return Folder(path, tuple(files), tuple(folders), tuple(linked))


def starts_zip(start: bytes) -> bool:
    """Whether a file that begins so is a zip archive."""
    return start[:4] in _ZIP_MAGICS


def starts_dicom(start: bytes) -> bool:
    """Whether a file that begins so is DICOM: with the preamble, or (as old files are) with a first element at once.

    Args:
        start: `START_BYTES` of it, or all where it has fewer.
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in {b"\x02\0", b"\x08\0"} or start[2:4] > b"\x20\0":
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or int.from_bytes(start[4:8], "little") < 1024
