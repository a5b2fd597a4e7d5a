"""Routes for corrected masks of a job: saving versions, listing them, downloading the corrected result."""

from __future__ import annotations

import tempfile
import threading
from http import HTTPStatus
from typing import IO, Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from tomoseg.datasets.corrections import versions
from tomoseg.errors import unknown_name_message
from tomoseg.server import corrections
from tomoseg.server.app import API
from tomoseg.server.packing import packed
from tomoseg.server.records import RESULT, Corrections, Result, SavedCorrection
from tomoseg.server.refusals import RefusalError
from tomoseg.server.result_tables import statistics_table
from tomoseg.server.service import Service, ServiceOf

router = APIRouter(prefix=f"{API}/jobs/{{job}}/corrections", tags=["corrections"])

MOST_MASK_BYTES = 64_000_000
"""Size limit of a compressed mask; one drawn on the largest scan takes a hundredth of it."""

LONGEST_NAME = 100

_MASK: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}

_writing = threading.Lock()
"""Serialises the numbering of versions and the writing of results."""


@router.post("", status_code=201, openapi_extra=_MASK)
async def save_correction(
    job: str,
    request: Request,
    service: ServiceOf,
    structure: Annotated[str, Query()],
    who: Annotated[str, Query()] = "",
) -> SavedCorrection:
    """Save a corrected mask of a completed job as a new version.

    The body is one byte per voxel, 0 or 1, on the scan's grid in RAS+ order, x fastest, compressed with gzip.

    Raises:
        RefusalError: If the job is not done or has no such structure, or the mask is invalid, too large or of another
            grid.
    """
    await run_sync(service.result_folder, job)
    with tempfile.TemporaryFile(dir=service.folder) as sent:
        async for piece in request.stream():
            await run_sync(sent.write, piece)
            if sent.tell() > MOST_MASK_BYTES:
                text = f"expected a mask of at most {MOST_MASK_BYTES} bytes, got more; compress it with gzip"
                raise RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        return SavedCorrection(version=await run_sync(_save, service, job, structure, who[:LONGEST_NAME], sent))


@router.get("")
def list_corrections(job: str, service: ServiceOf) -> Corrections:
    """List all versions, in order."""
    folder = service.result_folder(job).parent / corrections.FOLDER
    return Corrections(corrections=corrections.listed(folder))


@router.get("/download", response_class=StreamingResponse)
def download_corrected(job: str, service: ServiceOf) -> StreamingResponse:
    """Download the result with the latest correction of each structure, in the job's formats, as a ZIP archive.

    Raises:
        RefusalError: If there is no correction.
    """
    made = list_corrections(job, service)
    if not made.corrections:
        text = "expected a job with corrections, got one without; correct a mask first, or download its result"
        raise RefusalError(HTTPStatus.NOT_FOUND, text)
    with _writing:
        corrected = service.corrected(job)
        service.uploads.check_size(0)
        folder = corrections.corrected_result(corrected)
        _count(service, job, corrected)
    stored = Result.model_validate_json((folder / RESULT).read_text(encoding="utf-8"))
    result = stored.model_copy(update={"job": job})
    texts = {
        "statistics.csv": statistics_table(result),
        "result.json": result.model_dump_json(indent=1),
        "corrections.json": made.model_dump_json(indent=1),
    }
    files = {one.name: folder / one.name for one in result.files}
    headers = {"content-disposition": 'attachment; filename="corrected.zip"'}
    return StreamingResponse(packed(files, texts), media_type="application/zip", headers=headers)


def _save(service: Service, job: str, structure: str, who: str, sent: IO[bytes]) -> int:
    """Save a mask, and return its version.

    Raises:
        RefusalError: If the job has no such structure, or the mask is invalid.
    """
    known = [one.name for one in service.result(job).structures]
    if structure not in known:
        text = f"structure: {unknown_name_message(structure[:LONGEST_NAME], known)}"
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
    service.uploads.check_size(sent.tell())
    sent.seek(0)
    with _writing:
        corrected = service.corrected(job)
        version = corrections.save(corrected, structure, who, sent)
        _count(service, job, corrected)
        service.views.renew(job)
    return version


def _count(service: Service, job: str, corrected: corrections.Corrected) -> None:
    """Store the number of a job's versions, and their size.

    Raises:
        RefusalError: If the job was removed meanwhile.
    """
    if not service.jobs.corrected(job, len(versions(corrected.folder)), corrected.bytes):
        service.result_folder(job)
