"""A file on a server that is read like one on disk, by HTTP range requests with read-ahead.

remotezip and fsspec's HTTP files are not used because they neither notice that the file has changed on the server nor
try again; remotezip makes one request per file of a case, 118 where a read-ahead of 4 MB needs about five.
"""

from __future__ import annotations

import io

from tomoseg.datasets.download.http import Reply, TryAgainError, Web, keep_trying, opened
from tomoseg.datasets.download.sources import Archive
from tomoseg.errors import DownloadError

READ_AHEAD = 4 << 20
"""Minimum bytes of a request: a case of the public dataset is about 20 MB, read from front to back."""

TAIL = 1 << 20
"""Bytes at the end of the file that are requested first, since a ZIP file's list of contents is there."""

MOST_AT_ONCE = 64 << 20
"""Maximum bytes of one read; more results from a wrong size, since a list of half a million files is shorter."""


class RemoteFile(io.RawIOBase):
    """A file on a server, for reading only.

    Raises:
        DownloadError: When it is opened, and from every read: if the server cannot be reached, does not send ranges, or
            the file has changed.
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
        """Size of the file in bytes."""
        return self._size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the offset of the next read, without a request.

        Raises:
            OSError: If it is negative.
        """
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise OSError(f"expected a position in the file, got {at}")
        self._at = at
        return at

    def read(self, size: int = -1, /) -> bytes:
        """Read `size` bytes, fewer only at the end of the file; all the rest for -1.

        Raises:
            DownloadError: If they cannot be read, or are more than `MOST_AT_ONCE`.
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
        """Fetch the bytes from `start` up to `end` into the window; a negative start counts from the file's end."""
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
        """Check that a reply is part of the same file, and return the size of the file.

        Raises:
            DownloadError: If it is not, or if the whole file was sent.
        """
        url, known = self._archive.url, self._size or self._archive.bytes
        if (None not in (self._validator, reply.validator) and reply.validator != self._validator) or (
            None not in (known, reply.total) and reply.total != known
        ):
            raise DownloadError(
                f"{url}: expected the same archive of {known} bytes throughout, got one of {reply.total}; run "
                "the same command again, or check the URL and the size"
            )
        if reply.status != 206 or reply.total is None:
            raise DownloadError(
                f"{url}: expected a server that sends parts of a file, got status {reply.status} without them; "
                "download the whole dataset without --cases, or take another mirror with --url"
            )
        return reply.total


class LocalFile(io.FileIO):
    """A file on disk with a limit on the size of one read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes.

        Raises:
            DownloadError: If that is more than `MOST_AT_ONCE`.
        """
        check_piece(size or 0, str(self.name))
        return super().read(-1 if size is None else size) or b""


def check_piece(wanted: int, name: str) -> None:
    """Check that a read is not larger than any part of an archive should be.

    Raises:
        DownloadError: If it is larger than `MOST_AT_ONCE`.
    """
    if wanted > MOST_AT_ONCE:
        raise DownloadError(
            f"{name}: expected a list of files of at most {MOST_AT_ONCE} bytes, got {wanted}; the archive is damaged"
        )
