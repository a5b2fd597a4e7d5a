"""Recognition, by their first bytes, of files that are not volumes in spite of their names: placeholders, web pages."""

from __future__ import annotations

from tomoseg.language.words import part

START_BYTES = 348
"""Number of bytes of a file that are needed."""

GZIP = b"\x1f\x8b"

_UNPACK, _CHECK = part("unpack it"), part("check the path")
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs.",
        part("a git-lfs pointer, without the file's content"),
        part("fetch it with git lfs pull"),
    ),
    (
        b"version https://hawser.",
        part("a git-lfs pointer, without the file's content"),
        part("fetch it with git lfs pull"),
    ),
    (GZIP, part("gzip, or gzip within gzip"), _UNPACK),
    (b"BZh", part("a bzip2 archive"), _UNPACK),
    (b"\xfd7zXZ\x00", part("an xz archive"), _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", part("a 7z archive"), _UNPACK),
    (b"Rar!\x1a\x07", part("a rar archive"), _UNPACK),
    (b"PK\x03\x04", part("a zip archive"), _UNPACK),
    (b"\x28\xb5\x2f\xfd", part("a zstd archive"), _UNPACK),
    (b"NRRD", part("NRRD"), part("convert it to NIfTI, or unpack it if it is compressed as a whole")),
    (b"%PDF", part("a PDF"), _CHECK),
    (b"\x89PNG", part("a PNG picture"), _CHECK),
    (b"\xff\xd8\xff", part("a JPEG picture"), _CHECK),
    (b"\x89HDF", part("an HDF5 file"), part("convert it to NIfTI")),
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
        return part("a web page or XML, as a failed download leaves it"), part("download the file again")
    if b"/annex/objects/" in start:
        return part("a git-annex pointer, without the file's content"), part("fetch it with git annex get")
    if start[257:262] == b"ustar":
        return part("a tar archive"), _UNPACK
    if start and not any(start):
        return part("zeros, as a placeholder or an unfinished download has them"), part("download the file again")
    return None
