"""Records of the files at a path, which is listed only once.

Nothing here depends on a format: `scan.look` recognises formats, and readers take its records.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tomoseg.files.stores.addresses import is_mirrored
from tomoseg.notices import Notice

ScanKind = Literal["dicom", "zip", "nifti", "nrrd", "metaimage"]
"""Kinds of scans. A `zip` holds DICOM; `dicom` is a folder of files, or one file."""

Headers = dict[Path, tuple[Any, ...] | None]
"""Image headers of DICOM files, by file; None for a file that is not DICOM."""

START_BYTES = 132
"""Bytes at the start of a file that distinguish all formats."""

HEADER_BYTES = 4096
"""Bytes at the start of a volume that hold its header, unless it is unusual."""

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its folder was listed.

    Attributes:
        path: The file.
        size: Its size in bytes.
        modified_ns: Time of its last modification in nanoseconds since 1970, which programs can set.
        changed_ns: Time of its last change of any kind, which programs cannot set; on Windows, that of its creation. 0
            for an object in a store, whose modification time cannot be set.
    """

    path: Path = field(repr=False)
    size: int
    modified_ns: int
    changed_ns: int = 0

    @classmethod
    def at(cls, path: Path) -> SourceFile:
        """Make the record of the file at a path.

        Raises:
            OSError: If there is none, or it cannot be accessed.
        """
        return cls._of(path, path.stat())

    @classmethod
    def _of(cls, path: Path, state: os.stat_result) -> SourceFile:
        return cls(path, state.st_size, state.st_mtime_ns, 0 if is_mirrored(path) else state.st_ctime_ns)


@dataclass(frozen=True)
class ScanSource:
    """A scan before it is read: its kind and its files. It can be pickled.

    Attributes:
        kind: Kind of the scan.
        path: The folder, archive or file, as named in messages.
        files: The files at the path when it was listed; empty if it does not exist. They include files beside the
            scan's own, such as damaged ones or texts.
        says: Name of the thing that the file is according to its header, if that is not a scan.
        number: Number among several scans of that path, from 1; 0 if it is the only one.
        inside: Its folder in an archive, if that holds several scans.
        members: The members of an archive that it is read from; None for all.
        notices: Notices from searching for it.
        headers: Image headers of its files that were read to recognise DICOM; only `files.dicom` interprets them.
    """

    kind: ScanKind
    path: Path
    files: tuple[SourceFile, ...] = field(repr=False)
    says: str | None = None
    number: int = 0
    inside: str = ""
    members: frozenset[str] | None = field(default=None, repr=False)
    notices: tuple[Notice, ...] = ()
    headers: Headers = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_dicom(self) -> bool:
        """Whether it is DICOM, in an archive or not."""
        return self.kind in {"dicom", "zip"}


@dataclass(frozen=True)
class Lost:
    """A file or folder that cannot be read.

    Attributes:
        path: Its path.
        why: The reason, such as "a link to nothing".
    """

    path: Path = field(repr=False)
    why: str


@dataclass(frozen=True)
class Folder:
    """The contents of a folder, sorted by name, without hidden ones.

    Attributes:
        path: The folder.
        files: Its files.
        folders: Its subfolders.
        linked: Links to folders.
        lost: Entries that cannot be read.
    """

    path: Path
    files: tuple[SourceFile, ...]
    folders: tuple[Path, ...]
    linked: tuple[Path, ...]
    lost: tuple[Lost, ...] = ()


@dataclass
class DicomFolder:
    """A folder that may hold DICOM.

    Attributes:
        path: The folder.
        files: Its files, without volumes of other kinds.
        headers: Image headers of its files, as in `ScanSource`, without damaged ones.
        lost: Files that cannot be read, including damaged DICOM files.
        has_damaged: Whether a DICOM file is damaged.
    """

    path: Path
    files: list[SourceFile] = field(default_factory=list)
    headers: Headers = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    has_damaged: bool = False

    @property
    def has_dicom(self) -> bool:
        """Whether it holds DICOM."""
        return self.has_damaged or any(images is not None for images in self.headers.values())


def list_folder(path: Path) -> Folder:
    """List a folder, once.

    Raises:
        OSError: If it cannot be listed.
    """
    files: list[SourceFile] = []
    folders: list[Path] = []
    linked: list[Path] = []
    lost: list[Lost] = []
    with os.scandir(path) as listing:
        for entry in sorted(listing, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            inside = path / entry.name
            try:
                if entry.is_dir():
                    (linked if entry.is_symlink() else folders).append(inside)
                elif entry.is_file():
                    files.append(SourceFile._of(inside, entry.stat()))
                else:
                    is_dead = entry.is_symlink() and not inside.exists()
                    lost.append(Lost(inside, "a link to nothing" if is_dead else "neither a file nor a folder"))
            except OSError as error:
                lost.append(Lost(inside, reason(error)))
    return Folder(path, tuple(files), tuple(folders), tuple(linked), tuple(lost))


def walk(path: Path, follow: bool = False) -> Iterator[Folder]:
    """Yield a folder and all below it, each listed once; one that cannot be listed is in its parent's `lost`.

    Args:
        path: The folder to start from.
        follow: Whether to follow links to folders, except for those within the tree.

    Raises:
        OSError: If the first folder cannot be listed.
    """
    return _walk(list_folder(path), follow, {path.resolve()})


def _walk(folder: Folder, follow: bool, seen: set[Path]) -> Iterator[Folder]:
    lost = list(folder.lost)
    below = []
    for path in sorted((*folder.folders, *(folder.linked if follow else ()))):
        try:
            if path in folder.linked and _leads_back(path.resolve(), seen):
                continue
            below.append(list_folder(path))
        except OSError as error:
            lost.append(Lost(path, reason(error)))
    yield replace(folder, lost=tuple(lost))
    for inner in below:
        yield from _walk(inner, follow, seen)


def _leads_back(target: Path, seen: set[Path]) -> bool:
    """Whether a link leads to a folder that is visited anyway; otherwise remember that folder."""
    if any(place in (target, *target.parents) or target in place.parents for place in seen):
        return True
    seen.add(target)
    return False


def reason(error: OSError) -> str:
    """Return the reason why something cannot be read, without its name."""
    return (error.strerror or str(error)).lower()


def starts_zip(start: bytes) -> bool:
    """Whether a file with these first bytes is a ZIP archive."""
    return start[:4] in _ZIP_MAGICS


def starts_dicom(start: bytes) -> bool:
    """Whether a file with these first bytes is DICOM, with the preamble, or (as old files) without.

    Args:
        start: Its first `START_BYTES`, or all if it has fewer.
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 16 or start[:2] not in {b"\x02\0", b"\x08\0"} or start[2:4] > b"\x20\0":
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or int.from_bytes(start[4:8], "little") < 1024
