"""Contents of a ZIP file of cases, which are checked before anything is unpacked.

A case is a folder with a `ct.nii.gz`. Tables and texts beside the cases belong to the dataset; files anywhere else are
ignored, as are hidden files and those of macOS. The whole archive is refused for a single path that leads out of its
folder, a link, or an impossible size: it is malicious or damaged.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from tomoseg.datasets.download.remote_file import LocalFile, RemoteFile
from tomoseg.errors import DownloadError

SCANS = ("ct.nii.gz", "ct.nii")

MOST_TIMES = 100
"""Maximum expansion of a file; more is a ZIP bomb, since scans and masks are compressed already and hardly expand."""

SMALL_BYTES = 16 << 20
"""Size to which any file may expand: an empty mask compressed twice is tiny."""

MOST_TIMES_IN_ALL = 10
"""Maximum expansion of the archive as a whole."""

LONGEST_NAME = 200
"""Maximum bytes of a file's or folder's name; file systems allow 255, and temporary names are longer."""

_FORBIDDEN = frozenset('\\:*?"<>|')
_RESERVED = frozenset(("con", "prn", "aux", "nul"))
_ENCRYPTED = 0x1
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        info: Its entry in the archive.
        path: Path to unpack to, relative to the dataset's folder.
    """

    info: zipfile.ZipInfo
    path: PurePosixPath


@dataclass(frozen=True)
class Contents:
    """The contents of an archive.

    Attributes:
        cases: Files of each case by name.
        tables: Files beside the cases, such as `meta.csv`.
    """

    cases: dict[str, tuple[Member, ...]]
    tables: tuple[Member, ...]


@contextmanager
def opened_archive(file: RemoteFile | LocalFile, name: str) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP file and read its list of files.

    Args:
        file: The archive, on disk or on a server; it is closed at the end.
        name: Name of the archive in messages.

    Raises:
        DownloadError: If it is not a ZIP file, or its list of files is damaged.
    """
    with file:
        with damage_told(name):
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive


@contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Turn all errors from reading a ZIP file into one.

    Raises:
        DownloadError: If it is damaged, or something in it cannot be read.
    """
    try:
        yield
    except _DAMAGE as error:
        raise DownloadError(f"{name}: expected a whole ZIP file, got: {error}; download it again") from None


def read_contents(archive: zipfile.ZipFile, archive_bytes: int, name: str) -> Contents:
    """Find the cases of an archive.

    Args:
        archive: An open ZIP file.
        archive_bytes: Its size in bytes.
        name: Name of the archive in messages.

    Raises:
        DownloadError: If it holds no case, one twice, or anything that must not be unpacked.
    """
    files = [info for info in archive.infolist() if _checked(info, name)]
    _check_sizes(files, archive_bytes, name)
    _check_places(files, name)
    return _sorted_out({PurePosixPath(info.filename): info for info in files if not _is_hidden(info.filename)}, name)


def _sorted_out(paths: dict[PurePosixPath, zipfile.ZipInfo], name: str) -> Contents:
    folders = _case_folders(paths, name)
    root = _common(folders)
    cases: dict[str, list[Member]] = {folder.name: [] for folder in folders}
    tables, inside = [], set(folders)
    for path, info in paths.items():
        folder = next((parent for parent in path.parents if parent in inside), None)
        if folder is not None:
            cases[folder.name].append(Member(info, path.relative_to(root)))
        elif path.parent == root:
            tables.append(Member(info, path.relative_to(root)))
    return Contents({case: tuple(members) for case, members in cases.items()}, tuple(tables))


def _case_folders(paths: Iterable[PurePosixPath], name: str) -> list[PurePosixPath]:
    """Return the folders of cases, none inside another.

    Raises:
        DownloadError: If there is none, or two have the same name.
    """
    scans = {path.parent for path in paths if path.name in SCANS and len(path.parts) > 1}
    folders = sorted(folder for folder in scans if scans.isdisjoint(folder.parents))
    if not folders:
        raise DownloadError(f"{name}: expected folders with ct.nii.gz in the archive, got none; check the URL")
    if len({folder.name for folder in folders}) != len(folders):
        raise DownloadError(f"{name}: expected each case once, got two folders of one name; unpack it by hand")
    return folders


def _common(folders: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the deepest common parent of folders."""
    return next(root for root in folders[0].parents if all(folder.is_relative_to(root) for folder in folders))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _checked(info: zipfile.ZipInfo, name: str) -> bool:
    """Check an entry and return whether it is a file, not a folder.

    Raises:
        DownloadError: If it is anything else, cannot be unpacked, or its path leads out of the folder.
    """
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadError(
            f"{name}: expected files and folders, got the link or device {info.filename!r}; {_STAY_OUT}"
        )
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _COMPRESSIONS:
        raise DownloadError(
            f"{name}: expected files that are stored or deflated, got {info.filename!r}, which is encrypted or "
            "compressed in another way; unpack it by hand"
        )
    parts = info.orig_filename.removesuffix("/").split("/")
    if not all(map(_is_safe, parts)):
        raise DownloadError(
            f"{name}: expected paths inside the archive's folder, got {info.orig_filename!r}; {_STAY_OUT}"
        )
    return not info.is_dir()


_STAY_OUT = "nothing was unpacked: take the archive from a source that you trust"


def _is_safe(part: str) -> bool:
    """Whether a part of a path is the plain name of a file or folder on every operating system."""
    return (
        part not in ("", ".", "..")
        and part.isprintable()
        and not set(part) & _FORBIDDEN
        and not part.endswith((" ", "."))
        and part.split(".")[0].lower() not in _RESERVED
        and len(part.encode(errors="replace")) <= LONGEST_NAME
    )


def _check_sizes(files: Sequence[zipfile.ZipInfo], archive_bytes: int, name: str) -> None:
    for info in files:
        if not 0 <= info.header_offset <= archive_bytes - info.compress_size:
            raise DownloadError(
                f"{name}: expected {info.filename!r} inside the archive's folder, got another place; {_STAY_OUT}"
            )
        if info.file_size > SMALL_BYTES + MOST_TIMES * info.compress_size:
            raise DownloadError(
                f"{name}: expected files that unpack to at most {MOST_TIMES} times their size, got "
                f"{info.filename!r} of {info.compress_size} bytes that unpacks to {info.file_size}; {_STAY_OUT}"
            )
    packed, unpacked = sum(info.compress_size for info in files), sum(info.file_size for info in files)
    if packed > archive_bytes or unpacked > SMALL_BYTES + MOST_TIMES_IN_ALL * archive_bytes:
        raise DownloadError(
            f"{name}: expected an archive of {archive_bytes} bytes to contain at most as much, and at most "
            f"{MOST_TIMES_IN_ALL} times as much unpacked, got {packed} and {unpacked}; {_STAY_OUT}"
        )


def _check_places(files: Sequence[zipfile.ZipInfo], name: str) -> None:
    """Check that no two entries would be unpacked to the same path, ignoring case.

    Raises:
        DownloadError: If two would, or one would lie inside a file.
    """
    seen: set[str] = set()
    for info in files:
        place = info.filename.casefold()
        if place in seen:
            raise DownloadError(f"{name}: expected each file once, got {info.filename!r} twice; {_STAY_OUT}")
        seen.add(place)
    for place in seen:
        if any(str(parent) in seen for parent in PurePosixPath(place).parents):
            raise DownloadError(f"{name}: expected files inside folders, got {place!r} inside a file; {_STAY_OUT}")
