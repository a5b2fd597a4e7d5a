"""A file on a server that is read like one on disk, a window at a time, by HTTP range requests.

Why not remotezip, or fsspec's HTTP files: neither notices that the file on the server is another one by now, or tries
again; remotezip asks once for each file of a case, 118 times where a window of 4 MB takes about five.
"""

from __future__ import annotations

import io

from tomoseg.datasets.download.http import Reply, TryAgainError, Web, keep_trying, opened
from tomoseg.datasets.download.sources import Archive
from tomoseg.errors import DownloadError

READ_AHEAD = 4 << 20
"""Bytes asked for at least: a case of the public dataset is about 20 MB, read from front to back."""

TAIL = 1 << 20
"""Bytes asked for first, from the end, where the contents of a ZIP file are listed."""

MOST_AT_ONCE = 64 << 20
"""Whoever wants to read more in one piece was told a wrong size: a list of half a million files is shorter."""


class RemoteFile(io.RawIOBase):
    """A file on a server, for reading only.

    Raises:
        DownloadError: Here and from every read: if the server cannot be reached, does not send ranges, or has another
            file by now than at first.
    """

    def __init__(self, archive: Archive, web: Web, read_ahead: int = READ_AHEAD, tail: int = TAIL) -> None:
        super().__init__()
        self._archive, self._web, self._read_ahead = archive, web, read_ahead
        self._validator: str | None = None
        self._size, self._at, self.requests = 0, 0, 0
        self._start, self._window = 0, b""
        self._ask(-tail, 0)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; nothing is asked for yet.

        Raises:
            OSError: If it lies before the beginning.
        """
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise OSError(f"expected a place in the file, got {at}")
        self._at = at
        return at

    def read(self, size: int = -1, /) -> bytes:
        """Read up to so many bytes, fewer only at the file's end; all that is left for -1.

        Raises:
            DownloadError: If it cannot be read, or that is more than any part of an archive should be.
        """
        left = max(0, self._size - self._at)
        wanted = left if size < 0 else min(size, left)
        check_piece(wanted, self._archive.name)
        pieces = bytearray()
        while len(pieces) < wanted:
            inside = self._at - self._start
            if not 0 <= inside < len(self._window):
                self._ask(self._at, min(self._at + max(wanted - len(pieces), self._read_ahead), self._size))
                continue
            piece = self._window[inside : inside + wanted - len(pieces)]
            pieces += piece
            self._at += len(piece)
        return bytes(pieces)

    def _ask(self, start: int, end: int) -> None:
        """Put the bytes from `start` up to `end` into the window; a negative start counts from the file's end."""
        keep_trying(lambda: self._fill(start, end), lambda: 0, self._web)

    def _fill(self, start: int, end: int) -> None:
        self.requests += 1
        headers = {"Range": f"bytes={start}" if start < 0 else f"bytes={start}-{end - 1}"}
        if self._validator is not None:
            headers["If-Range"] = self._validator
        with opened(self._archive.url, self._web, headers) as reply:
            total = self._checked_total(reply)
            if start < 0:
                start, end = max(0, total + start), total
            window = bytearray()
            for chunk in reply.chunks if reply.start == start else ():
                window += chunk
                if len(window) >= end - start:
                    break
        if len(window) != end - start:
            raise TryAgainError(
                f"{self._archive.url}: expected {end - start} bytes, got {len(window)} before the connection ended"
            )
        self._size, self._validator = total, self._validator or reply.validator
        self._start, self._window = start, bytes(window)

    def _checked_total(self, reply: Reply) -> int:
        """The file's size, once it is sure that the reply is part of the same file.

        Raises:
            DownloadError: If it is not, or if all of the file comes.
        """
        url, known = self._archive.url, self._size or self._archive.bytes
        if (None not in (self._validator, reply.validator) and reply.validator != self._validator) or (
            None not in (known, reply.total) and reply.total != known
        ):
            raise DownloadError(
                f"{url}: expected the same archive throughout, {known} bytes, got another of {reply.total}; "
                "run the same command again, or check the URL and the size"
            )
        if reply.status != 206 or reply.total is None:
            raise DownloadError(
                f"{url}: expected a server that sends parts of a file, got status {reply.status} without them; "
                "fetch the whole dataset without --cases, or take another mirror with --url"
            )
        return reply.total


class LocalFile(io.FileIO):
    """A file on disk of which nobody reads an absurd amount at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to so many bytes.

        Raises:
            DownloadError: If that is more than any part of an archive should be.
        """
        check_piece(size or 0, str(self.name))
        return super().read(-1 if size is None else size) or b""


def check_piece(wanted: int, name: str) -> None:
    """Refuse to read more into memory than any part of an archive should be.

    Raises:
        DownloadError: If it is more than `MOST_AT_ONCE`.
    """
    if wanted > MOST_AT_ONCE:
        raise DownloadError(
            f"{name}: expected a list of files of at most {MOST_AT_ONCE} bytes, got {wanted}; the archive is damaged"
        )
