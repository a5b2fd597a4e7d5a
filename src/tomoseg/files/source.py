"""What lies at a path, looked at once: folders are listed and first bytes are read here, and the record travels.

Nothing here needs to know a format: `scan.look` tells formats apart, and readers take what was found.
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
"""What a scan is read as. A `zip` holds DICOM; `dicom` is a folder of files, or one file."""

Headers = dict[Path, tuple[Any, ...] | None]
"""What DICOM files say of their images, by file; None of a file that is no DICOM."""

START_BYTES = 132
"""Bytes at the start of a file that tell all formats apart."""

HEADER_BYTES = 4096
"""Bytes at the start of a volume that say what it is, unless its header is unusual."""

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its folder was listed.

    Attributes:
        path: The file.
        size: Its length in bytes.
        modified_ns: When it was last written to, in nanoseconds since 1970; whoever copies a file may set it.
        changed_ns: When anything of it last changed, which nobody can set; on Windows when it was made. 0 of an object
            of a store, whose time of writing nobody can set.
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
        return cls(path, state.st_size, state.st_mtime_ns, 0 if is_mirrored(path) else state.st_ctime_ns)


@dataclass(frozen=True)
class ScanSource:
    """A scan before it is read: what it is and which files it may be read from. It can be pickled.

    Attributes:
        kind: What it is read as.
        path: What messages call it: the folder, archive or file.
        files: The files at the path as they were when it was looked at; none where nothing is there. Files beside a
            scan's own, such as damaged ones or a text, are among them.
        says: What a file says that it is, if that is no scan.
        number: Which of several scans of that path, from 1; 0 if it is the only one.
        inside: Where in an archive it lies, if that holds several scans.
        members: The members of an archive that it may be read from; all of them if None.
        notices: What was seen of it while it was looked for.
        headers: What its files say of their images, as far as they were read to know that they are DICOM; opaque to
            everyone but `files.dicom`.
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
        """Whether it is DICOM, packed or not."""
        return self.kind in {"dicom", "zip"}


@dataclass(frozen=True)
class Lost:
    """What lies in a folder and cannot be read.

    Attributes:
        path: Where.
        why: Such as "a link to nothing".
    """

    path: Path = field(repr=False)
    why: str


@dataclass(frozen=True)
class Folder:
    """What lies in a folder, sorted by name, without hidden names.

    Attributes:
        path: The folder.
        files: Its files.
        folders: Its folders.
        linked: Links to folders.
        lost: What cannot be read.
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
        files: Its files, but for volumes of other kinds.
        headers: What they say of their images, as in `ScanSource`; a damaged one is not among them.
        lost: What cannot be read, damaged DICOM files included.
        has_damaged: Whether a DICOM file is damaged.
    """

    path: Path
    files: list[SourceFile] = field(default_factory=list)
    headers: Headers = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    has_damaged: bool = False

    @property
    def has_dicom(self) -> bool:
        """Whether there is any."""
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
    """A folder and those below it, each listed once, when it is reached; one that cannot be listed is lost above it.

    Args:
        path: Where it begins.
        follow: Whether links to folders are followed, which lead out of the place; else they are passed over.

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
    """Whether a link leads to where the walk passes anyway; if not, that place is one from now on."""
    if any(place in (target, *target.parents) or target in place.parents for place in seen):
        return True
    seen.add(target)
    return False


def reason(error: OSError) -> str:
    """Why something cannot be read, without its name."""
    return (error.strerror or str(error)).lower()


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
