"""Routes for uploads: as a form, and resumable by tus.

Source: tus resumable upload protocol 1.0.0, https://tus.io/protocols/resumable-upload (core, creation, creation with
upload, expiration, termination). The offset is the size of the file on disk, so it is right even after the server was
killed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from typing import IO, Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from tomoseg.server.app import API
from tomoseg.server.connections import TooSlowError
from tomoseg.server.receiving import CHUNK_BYTES, receive_upload
from tomoseg.server.records import Upload
from tomoseg.server.refusals import RefusalError
from tomoseg.server.service import Service, ServiceOf
from tomoseg.server.uploads import UNFINISHED_SECONDS, suffix_of

router = APIRouter(prefix=API, tags=["uploads"])

TUS = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"

_FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}


@router.post("/uploads", status_code=201, openapi_extra=_FILES)
async def upload(
    request: Request,
    service: ServiceOf,
    content_type: Annotated[str, Header()] = "",
    content_length: Annotated[int | None, Header()] = None,
) -> Upload:
    """Upload a scan: one file, or all files of a DICOM series, in parts `file`.

    Raises:
        RefusalError: If there is no file, or it is too large, damaged or truncated.
    """
    made, _ = await receive_upload(service.uploads, request.stream(), content_type, content_length)
    if not made:
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, "expected a part `file` with a file name, got none; add it")
    return await run_sync(_shown, service, made)


@router.get("/uploads/{upload_id}")
def get_upload(upload_id: str, service: ServiceOf) -> Upload:
    """Return an upload."""
    return _shown(service, upload_id)


@router.delete("/uploads/{upload_id}", status_code=204)
def delete_upload(upload_id: str, service: ServiceOf) -> Response:
    """Remove an upload that no job uses."""
    service.uploads.row(upload_id)
    service.uploads.remove(upload_id)
    return Response(status_code=204)


@router.options("/tus/")
def tus_options(service: ServiceOf) -> Response:
    """Return the supported version and extensions of tus."""
    most = str(service.rules.upload_bytes)
    return _tus(204, {"tus-version": TUS, "tus-extension": EXTENSIONS, "tus-max-size": most})


@router.post("/tus/", status_code=201)
async def tus_create(
    request: Request,
    service: ServiceOf,
    upload_length: Annotated[int | None, Header(ge=0)] = None,
    upload_metadata: Annotated[str, Header()] = "",
    content_type: Annotated[str, Header()] = "",
) -> Response:
    """Create an upload of one file, whose bytes follow.

    Raises:
        RefusalError: If the length is missing or too large.
    """
    _check_version(request)
    if upload_length is None:
        raise RefusalError(
            HTTPStatus.LENGTH_REQUIRED, "expected a header Upload-Length, got none; send the size in bytes"
        )
    suffix = suffix_of(_metadata(upload_metadata).get("filename", ""))
    made = await run_sync(service.uploads.begin, suffix, upload_length)
    path = service.uploads.file(made, 1, suffix)
    await run_sync(path.touch)
    headers = {"location": made}
    if content_type == _OFFSET_TYPE:
        headers["upload-offset"] = str(await _append(service, made, 0, request))
    elif upload_length == 0:
        await run_sync(_complete, service, service.uploads.row(made))
    return _tus(201, headers)


@router.head("/tus/{upload_id}")
def tus_offset(upload_id: str, request: Request, service: ServiceOf) -> Response:
    """Return the offset of an upload."""
    _check_version(request)
    row = service.uploads.row(upload_id)
    shown = service.uploads.shown(row)
    if shown.received == shown.bytes and not shown.complete:  # the server was killed before completing it
        _complete(service, row)
    headers = {"upload-offset": str(shown.received), "upload-length": str(shown.bytes), "cache-control": "no-store"}
    return _tus(200, headers)


@router.patch("/tus/{upload_id}", status_code=204)
async def tus_append(
    upload_id: str,
    request: Request,
    service: ServiceOf,
    upload_offset: Annotated[int, Header(ge=0)],
    content_type: Annotated[str, Header()] = "",
) -> Response:
    """Append bytes to an upload.

    Raises:
        RefusalError: If the offset is not the upload's, or there are too many bytes.
    """
    _check_version(request)
    if content_type != _OFFSET_TYPE:
        text = f"expected content of type {_OFFSET_TYPE}, got another; correct the header"
        raise RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)
    return _tus(204, {"upload-offset": str(await _append(service, upload_id, upload_offset, request))})


@router.delete("/tus/{upload_id}", status_code=204)
def tus_delete(upload_id: str, request: Request, service: ServiceOf) -> Response:
    """Cancel an upload."""
    _check_version(request)
    service.uploads.row(upload_id)
    service.uploads.remove(upload_id)
    return _tus(204, {})


_OFFSET_TYPE = "application/offset+octet-stream"


async def _append(service: Service, upload: str, offset: int, request: Request) -> int:
    """Append the body of a request, and return the new offset.

    Raises:
        RefusalError: If another request is writing, the offset differs, or there are more bytes than announced.
    """
    with _alone(upload):
        row = await run_sync(service.uploads.row, upload)
        here = await run_sync(service.uploads.received, row)
        if here != offset or row["sha256"] is not None:
            text = f"expected the bytes from {here} on, got those from {offset} on; ask for the offset (HEAD)"
            raise RefusalError(HTTPStatus.CONFLICT, text)
        stream = await run_sync(service.uploads.file(upload, 1, row["suffix"]).open, "ab")
        try:
            here = await _write(stream, request, here, row["bytes"])
        finally:
            await run_sync(stream.close)
        await run_sync(service.uploads.touch, upload)
        if here == row["bytes"]:
            await run_sync(_complete, service, row)
    return here


async def _write(stream: IO[bytes], request: Request, here: int, size: int) -> int:
    """Write the body of a request; bytes that arrived before a broken connection are kept.

    Raises:
        RefusalError: If there are more bytes than announced.
        TooSlowError: If they arrive too slowly.
    """
    pieces: list[bytes] = []
    held = 0
    try:
        async for piece in request.stream():
            if here + held + len(piece) > size:
                text = f"expected {size} bytes in all, as Upload-Length said, got more; begin a new upload"
                raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
            pieces.append(piece)
            held += len(piece)
            if held >= CHUNK_BYTES:
                await run_sync(stream.write, b"".join(pieces))
                here, pieces, held = here + held, [], 0
    except ClientDisconnect:
        pass
    except TooSlowError:
        await run_sync(stream.write, b"".join(pieces))
        raise
    await run_sync(stream.write, b"".join(pieces))
    return here + held


def _complete(service: Service, row: sqlite3.Row) -> None:
    """Mark an upload as complete, once it is on disk."""
    with service.uploads.file(row["id"], 1, row["suffix"]).open("rb") as stream:
        os.fsync(stream.fileno())
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    service.uploads.complete(row["id"], digest, row["bytes"], 1, row["suffix"])


_WRITING: set[str] = set()


@contextmanager
def _alone(upload_id: str) -> Iterator[None]:
    """Give a request exclusive access to an upload during the block.

    Raises:
        RefusalError: If another request has it.
    """
    if upload_id in _WRITING:
        text = "expected one request that writes to an upload, got two; wait for the other"
        raise RefusalError(HTTPStatus.LOCKED, text)
    _WRITING.add(upload_id)
    try:
        yield
    finally:
        _WRITING.discard(upload_id)


def _check_version(request: Request) -> None:
    """Refuse another version of tus.

    Raises:
        RefusalError: If the request has one.
    """
    if request.headers.get("tus-resumable") != TUS:
        text = f"expected a header `Tus-Resumable: {TUS}`, got another or none; use a client of that version"
        raise RefusalError(HTTPStatus.PRECONDITION_FAILED, text)


def _metadata(text: str) -> dict[str, str]:
    """Parse the pairs of Upload-Metadata; invalid ones are ignored."""
    found = {}
    for pair in text.split(","):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode("utf-8", "replace")
        except binascii.Error:
            continue
    return found


def _tus(status: int, headers: dict[str, str]) -> Response:
    expires = (
        {}
        if status == 204 and not headers
        else {"upload-expires": formatdate(time.time() + UNFINISHED_SECONDS, usegmt=True)}
    )
    return Response(status_code=status, headers={"tus-resumable": TUS} | expires | headers)


def _shown(service: Service, upload_id: str) -> Upload:
    return service.uploads.shown(service.uploads.row(upload_id))
