"""The files of a folder or of a ZIP archive, as streams; nothing is unpacked to disk.

Archives are not trusted: names that lead out of them, passwords, and more bytes than a CT would unpack to are refused
before anything is read.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tomoseg.errors import InputError
from tomoseg.files.paths import climbs
from tomoseg.files.source import ScanSource

LARGEST_RATIO = 200
"""Maximum compression ratio: CT pixels shrink to a half or a third, an empty slice to a five-hundredth."""

ALWAYS_ALLOWED_BYTES = 256 << 20
"""Bytes that any archive may unpack to, whatever the ratio."""

MOST_FILES = 200_000


@dataclass(frozen=True)
class Entry:
    """A file, or a member of an archive.

    Attributes:
        path: The file, or the archive.
        member: The name in the archive.
        size: Size in bytes, as the archive claims.
        archive: The archive, while it is open.
    """

    path: Path
    member: str | None
    size: int
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> Path:
        """Its path, with an archive treated as a folder."""
        return self.path if self.member is None else self.path / self.member

    def open(self) -> Any:
        """Open it as a seekable stream.

        Raises:
            OSError: If it cannot be read.
        """
        if self.member is None or self.archive is None:
            return self.path.open("rb")
        return self.archive.open(self.member)


@contextmanager
def entries(source: ScanSource) -> Iterator[list[Entry]]:
    """Return the files of a scan, sorted by name; they can be opened until the end of the block.

    Args:
        source: A folder or a file of DICOM, or an archive.

    Raises:
        InputError: If it cannot be read, or is an archive that cannot be trusted.
    """
    with _readable(source.path):
        if source.kind == "zip":
            with _archive(source.path) as archive:
                found = _in_archive(archive, source.path)
                yield [one for one in found if source.members is None or one.member in source.members]
            return
        if len(source.files) > MOST_FILES:
            raise InputError(
                f"{source.path}: expected one scan, got more than {MOST_FILES} files; pass the folder of one scan"
            )
        yield [Entry(file.path, None, file.size) for file in source.files]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}; check it") from None


def _archive(path: Path) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        OSError: If the file cannot be read.
        InputError: If it is damaged; zipfile's message is not repeated, since it may name a member and thus a patient.
    """
    try:
        return zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # a damaged list makes zipfile raise nearly anything
        raise InputError(
            f"{path}: expected a whole zip archive, got one that cannot be read ({type(error).__name__}); copy it again"
        ) from None


def _in_archive(archive: zipfile.ZipFile, path: Path) -> list[Entry]:
    _check_names([member.filename for member in archive.infolist()], path)
    members = [member for member in archive.infolist() if not member.is_dir()]
    _check_archive(members, path)

    members.sort(key=lambda member: member.filename)
    return [Entry(path, member.filename, member.file_size, archive) for member in members]


def _check_names(names: list[str], path: Path) -> None:
    if len(names) > MOST_FILES:
        raise InputError(f"{path}: expected one scan, got an archive of {len(names)} files; put only one scan in it")
    if any(climbs(name) for name in names):
        raise InputError(f"{path}: expected paths inside the archive, got one that leads outside; do not trust it")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: expected each name once in the archive, got one twice; do not trust it")


def _check_archive(members: list[zipfile.ZipInfo], path: Path) -> None:
    size = path.stat().st_size
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{path}: expected an archive without a password, got an encrypted one; unpack it first")
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if packed > size or unpacked > max(ALWAYS_ALLOWED_BYTES, LARGEST_RATIO * size):
        raise InputError(
            f"{path}: expected an archive of CT slices, got {size} bytes that claim to unpack to {unpacked}; "
            "do not trust it"
        )


def inflated(data: bytes, limit: int) -> Any:
    """Decompress a raw deflate stream.

    Args:
        data: The compressed bytes.
        limit: Maximum bytes of the result.

    Raises:
        InputError: If more would come out, or the stream is damaged.
    """
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = decompressor.decompress(data, limit)
    except zlib.error as error:
        raise InputError(f"expected deflated data, got: {error}; copy the file again") from None
    if decompressor.unconsumed_tail:
        raise InputError(
            f"expected up to {limit} bytes from {len(data)} deflated ones, got more; do not trust the file"
        )
    return io.BytesIO(out)
