"""Streaming ZIP archives, without holding them in memory or on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class _Sink:
    """Write-only stream of a ZIP archive, emptied piece by piece. It is not seekable, so sizes follow the data."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def packed(files: Mapping[str, Path], texts: Mapping[str, str]) -> Iterator[bytes]:
    r"""Pack files, which are compressed already, and texts to a ZIP archive.

    Args:
        files: Paths of files by name in the archive.
        texts: Texts by name in the archive.

    Yields:
        Pieces of the archive.

    Example:
        >>> b"".join(packed({}, {"a.txt": "text"}))[:4]
        b'PK\x03\x04'
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, text in texts.items():
            archive.writestr(name, text.encode())
        for name, path in files.items():
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as member:
                while chunk := source.read(_CHUNK_BYTES):
                    member.write(chunk)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()
