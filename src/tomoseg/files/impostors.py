"""Recognition, by their first bytes, of files that are not volumes in spite of their names: placeholders, web pages."""

from __future__ import annotations

START_BYTES = 348
"""Number of bytes of a file that are needed."""

GZIP = b"\x1f\x8b"

_UNPACK = "unpack it"
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.", "a git-lfs pointer, without the file's content", "fetch it with git lfs pull"),
    (b"version https://hawser.", "a git-lfs pointer, without the file's content", "fetch it with git lfs pull"),
    (GZIP, "gzip, or gzip within gzip", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"NRRD", "NRRD", "convert it to NIfTI, or unpack it if it is compressed as a whole"),
    (b"%PDF", "a PDF", "check the path"),
    (b"\x89PNG", "a PNG picture", "check the path"),
    (b"\xff\xd8\xff", "a JPEG picture", "check the path"),
    (b"\x89HDF", "an HDF5 file", "convert it to NIfTI"),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")


def called(start: bytes) -> tuple[str, str] | None:
    """Return the kind of a file that is not a volume, and advice; None if it is not recognised.

    Args:
        start: Its first `START_BYTES`, or all if it has fewer.

    Example:
        >>> called(b"BZh91AY&SY")
        ('a bzip2 archive', 'unpack it')
    """
    for magic, what, do in _STARTS:
        if start.startswith(magic):
            return what, do
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page or XML, as a failed download leaves it", "download the file again"
    if b"/annex/objects/" in start:
        return "a git-annex pointer, without the file's content", "fetch it with git annex get"
    if start[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if start and not any(start):
        return "zeros, as a placeholder or an unfinished download has them", "download the file again"
    return None
