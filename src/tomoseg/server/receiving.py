"""Receiving the files of a request, written to disk as they arrive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from anyio.to_thread import run_sync
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from tomoseg.server.refusals import RefusalError
from tomoseg.server.uploads import DICOM_SUFFIX, UploadStore, digest_of, suffix_of

MOST_FILES = 20_000
"""Largest number of files of one upload, several times the slices of the longest scans."""

LONGEST_TEXT_BYTES = 1_000_000
"""Largest size of a part that is not a file."""

CHUNK_BYTES = 1 << 20
"""Bytes written at a time, in a thread."""

_PART = "expected a multipart body with parts `file`"


@dataclass
class Received:
    """Content of a received body.

    Attributes:
        digests: SHA-256 of each file.
        size: Size of all files in bytes.
        suffixes: Suffixes of the files' names.
        texts: Parts that are not files, by name.
    """

    digests: list[str] = field(default_factory=list)
    size: int = 0
    suffixes: list[str] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)


class MultipartFiles:
    """Writes the files of a multipart body into a folder, as `000001.dcm` and so on.

    Args:
        content_type: The content type of the request.
        folder: Folder to write to.
        names: Names of the parts that are files; other parts are texts. None for a multipart body of DICOM files, as
            DICOMweb sends them.

    Raises:
        RefusalError: If it is not a multipart body.
    """

    def __init__(self, content_type: str, folder: Path, names: tuple[str, ...] | None = ("file",)) -> None:
        kind, options = parse_options_header(content_type)
        wanted = b"multipart/related" if names is None else b"multipart/form-data"
        if kind != wanted or b"boundary" not in options:
            raise RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{_PART}, got another; send it as a form does")
        self.received = Received()
        self._folder, self._names = folder, names
        self._header, self._value = b"", b""
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._text: str | None = None
        self._is_whole = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._close,
            "on_end": self._end,
        }
        self._disposition = b""
        self._parser = MultipartParser(options[b"boundary"], callbacks)

    def write(self, data: bytes) -> None:
        """Process the next bytes of the body.

        Args:
            data: Any number of bytes.

        Raises:
            RefusalError: If the body is damaged, or has too many files or too long a text.
        """
        try:
            self._parser.write(data)
        except MultipartParseError:
            self.abort()
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"{_PART}, got a damaged one; send it again") from None

    def finish(self) -> Received:
        """Return the content, after the last byte.

        Raises:
            RefusalError: If the body is truncated.
        """
        self.abort()
        if not self._is_whole:
            raise RefusalError(HTTPStatus.BAD_REQUEST, f"{_PART}, got one that is cut; send it again")
        return self.received

    def abort(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._disposition = b""

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._names is None:
            options[b"filename"] = DICOM_SUFFIX.encode()
        elif name not in self._names or b"filename" not in options:
            self._text = name
            self.received.texts[name] = b""
            return
        if len(self.received.digests) >= MOST_FILES:
            text = f"expected at most {MOST_FILES} files, got more; send them as a zip"
            raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        suffix = suffix_of(options[b"filename"].decode("utf-8", "replace"))
        self.received.suffixes.append(suffix)
        self._digest = hashlib.sha256()
        self._file = (self._folder / f"{len(self.received.digests) + 1:06d}{suffix}").open("wb")

    def _write(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._file is not None:
            self._file.write(piece)
            self._digest.update(piece)
            self.received.size += len(piece)
        elif self._text is not None:
            self.received.texts[self._text] += piece
            if len(self.received.texts[self._text]) > LONGEST_TEXT_BYTES:
                text = f"{_PART}, got another of more than a megabyte; call scans `file`, with a file name"
                raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)

    def _end(self) -> None:
        self._is_whole = True

    def _close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self.received.digests.append(self._digest.hexdigest())
        self._text = None


async def receive_upload(
    store: UploadStore,
    body: AsyncIterator[bytes],
    content_type: str,
    length: int | None,
    names: tuple[str, ...] | None = ("file",),
) -> tuple[str, Received]:
    """Receive an upload from a multipart body; a truncated or refused one leaves no files.

    Args:
        store: The store that it is written to.
        body: The body of the request.
        content_type: The content type of the request.
        length: The length of the body, if stated.
        names: Names of the parts that are files; None for a body of DICOM files.

    Returns:
        The upload's id, empty if there is no file, and the content.

    Raises:
        RefusalError: If it is too large, damaged or truncated, or several files are not DICOM.
    """
    limit = store.rules.upload_bytes
    upload = await run_sync(store.begin, ".dcm", min(limit, store.rules.quota_bytes) if length is None else length, 0)
    try:
        files = MultipartFiles(content_type, store.folder / upload, names)
        try:
            await _pour(body, files, limit)
            received = await run_sync(files.finish)
        finally:
            files.abort()
        if not received.digests:
            await run_sync(store.remove_if_unused, upload)
            return "", received
        if len(received.digests) > 1 and set(received.suffixes) != {".dcm"}:
            text = "expected one file, or the DICOM files of one scan, got several other files; send them one by one"
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
        digest = digest_of(received.digests)
        count, suffix = len(received.digests), received.suffixes[0]
        await run_sync(store.complete, upload, digest, received.size, count, suffix)
    except BaseException:
        store.remove_if_unused(upload)
        raise
    return upload, received


async def _pour(body: AsyncIterator[bytes], files: MultipartFiles, limit: int) -> None:
    pieces: list[bytes] = []
    held = came = 0
    async for piece in body:
        pieces.append(piece)
        held += len(piece)
        came += len(piece)
        if came > limit + LONGEST_TEXT_BYTES:
            text = f"expected an upload of at most {limit} bytes, got more; send a part of the scan"
            raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        if held >= CHUNK_BYTES:
            await run_sync(files.write, b"".join(pieces))
            pieces, held = [], 0
    await run_sync(files.write, b"".join(pieces))
