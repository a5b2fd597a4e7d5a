"""Routes of jobs and of their results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from tomoseg.server.app import API
from tomoseg.server.jobs import Standing
from tomoseg.server.packing import packed
from tomoseg.server.records import ENDS, AskedJob, Job, Jobs, Result
from tomoseg.server.result_tables import statistics_row, statistics_table
from tomoseg.server.service import Service, ServiceOf
from tomoseg.server.shown import Part
from tomoseg.server.supervisor import remove_job
from tomoseg.server.watching import until

router = APIRouter(prefix=API, tags=["jobs"])

COMMENT_SECONDS = 15.0
"""Seconds between messages that keep proxies from closing a silent stream."""

_EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}


@router.post("/jobs", status_code=201, responses={200: {"model": Job, "description": "The same job, made before"}})
def make_job(asked: AskedJob, service: ServiceOf) -> JSONResponse:
    """Create a job for uploads, or return the existing one of the same uploads, model and options."""
    job, is_new = service.make_job(asked.uploads, asked.model, asked.options)
    return JSONResponse(job.model_dump(), 201 if is_new else 200, {"location": f"jobs/{job.id}"})


@router.get("/jobs")
def list_jobs(
    service: ServiceOf, limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: Annotated[int | None, Query()] = None
) -> Jobs:
    """List jobs, the newest first; `before` continues with smaller numbers."""
    return Jobs(jobs=[service.shown(row) for row in service.jobs.newest(limit, before)])


@router.get("/jobs/{job}")
def get_job(job: str, service: ServiceOf) -> Job:
    """Return a job."""
    return service.job(job)


@router.post("/jobs/{job}/cancel")
def cancel_job(job: str, service: ServiceOf) -> Job:
    """Cancel a job that has not ended."""
    return service.cancel(job)


@router.delete("/jobs/{job}", status_code=204)
def delete_job(job: str, service: ServiceOf) -> Response:
    """Cancel a job and remove its scan and its results."""
    remove_job(service.jobs, service.uploads, job)
    return Response(status_code=204)


@router.get("/jobs/{job}/events", response_class=StreamingResponse, responses={200: {"content": _EVENTS}})
async def job_events(
    job: str, request: Request, service: ServiceOf, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Stream server-sent events `job`, each with the job, until it ends."""
    await run_sync(service.row, job)
    return _stream(service, _of_one(service, request, job, _number(last_event_id)))


@router.get("/events", response_class=StreamingResponse, responses={200: {"content": _EVENTS}})
async def all_events(
    request: Request, service: ServiceOf, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Stream server-sent events `job` of all jobs that change, without end."""
    return _stream(service, _of_all(service, request, _number(last_event_id)))


@router.get("/jobs/{job}/result")
def get_result(job: str, service: ServiceOf) -> Result:
    """Return the result of a completed job."""
    return service.result(job)


@router.get("/jobs/{job}/files/{name:path}", response_class=FileResponse)
def get_file(job: str, name: str, service: ServiceOf) -> FileResponse:
    """Download one of the files that a result lists."""
    path = service.result_file(job, name)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


@router.get("/jobs/{job}/download", response_class=StreamingResponse)
def download(job: str, service: ServiceOf) -> StreamingResponse:
    """Download all files of a result as a ZIP archive, with the statistics as a table."""
    folder, result = service.result_folder(job), service.result(job)
    texts = {"statistics.csv": statistics_table(result), "result.json": result.model_dump_json(indent=1)}
    files = {one.name: folder / one.name for one in result.files}
    headers = {"content-disposition": 'attachment; filename="segmentation.zip"'}
    return StreamingResponse(packed(files, texts), media_type="application/zip", headers=headers)


@router.get("/jobs/{job}/view/{part}", response_class=FileResponse, responses={202: {"description": "Being made"}})
def get_view(job: str, part: Part, service: ServiceOf) -> Response:
    """Return a part of the view of a job, which is made on first request; the status is 202 until it is ready."""
    path = service.view_file(job, part)
    if path is None:
        return JSONResponse({"state": "preparing"}, 202)
    kind = "application/json" if part == "case.json" else "application/octet-stream"
    return FileResponse(path, media_type=kind, headers={"cache-control": "no-store"})


@router.get("/jobs/{job}/statistics.json")
def statistics(job: str, service: ServiceOf) -> list[dict[str, object]]:
    """Return volume, HU and position of each structure."""
    return [statistics_row(one) for one in service.result(job).structures]


@router.get("/jobs/{job}/statistics.csv", response_class=Response)
def statistics_csv(job: str, service: ServiceOf) -> Response:
    """Return volume, HU and position of each structure as CSV."""
    headers = {"content-disposition": 'attachment; filename="statistics.csv"'}
    return Response(statistics_table(service.result(job)), media_type="text/csv; charset=utf-8", headers=headers)


def _number(last_event_id: str | None) -> int | None:
    return int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else None


def _stream(service: Service, events: AsyncIterator[str]) -> StreamingResponse:
    """Return a stream of events.

    Raises:
        RefusalError: If there are too many streams.
    """
    service.watch.check_room()

    async def counted() -> AsyncIterator[str]:
        with service.watch.watched():
            async for event in events:
                yield event

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}  # no buffering in nginx
    return StreamingResponse(counted(), media_type="text/event-stream", headers=headers)


async def _of_one(service: Service, request: Request, job: str, seen: int | None) -> AsyncIterator[str]:
    """Yield a job whenever it changes; at once, unless the watcher has seen its last change."""
    sent: Job | None = None
    stood: Standing | None = None
    while True:
        next_change = service.watch.next_change
        stands = await service.standings.of(job, next_change)
        if stands is None or stands != stood:
            found = await _now(service, job, sent, stood, stands)
            if found is None:  # removed meanwhile
                return
            change, shown = found
            if _is_news(shown, sent, change, seen):
                yield _event(change, shown)
            sent, stood = shown, stands
            if shown.state in ENDS:
                return
        if not await until(next_change, COMMENT_SECONDS):
            if await request.is_disconnected():
                return
            yield ": waiting\n\n"


async def _now(
    service: Service, job: str, sent: Job | None, stood: Standing | None, stands: Standing | None
) -> tuple[int, Job] | None:
    """Return a job with its last change, without a query if only its place in the queue changed."""
    if (
        sent is not None
        and sent.state == "queued"
        and stood is not None
        and stands is not None
        and stood[0] == stands[0]
    ):
        return stands[0], sent.model_copy(update={"position": stands[1]})
    return await run_sync(_row_and_job, service, job)


def _is_news(shown: Job, sent: Job | None, change: int, seen: int | None) -> bool:
    """Return True if a job differs from what the watcher has."""
    return shown != sent and not (sent is None and seen is not None and change <= seen)


def _row_and_job(service: Service, job: str) -> tuple[int, Job] | None:
    row = service.jobs.row(job)
    return None if row is None else (row["change"], service.shown(row))


async def _of_all(service: Service, request: Request, seen: int | None) -> AsyncIterator[str]:
    last = await run_sync(_latest, service) if seen is None else seen
    yield ": listening\n\n"
    while not await request.is_disconnected():
        next_change = service.watch.next_change
        rows = await run_sync(service.jobs.changed_since, last)
        for row in rows:
            last = row["change"]
            yield _event(last, await run_sync(service.shown, row))
        if not await until(next_change, COMMENT_SECONDS):
            yield ": waiting\n\n"


def _latest(service: Service) -> int:
    row = service.database.first("SELECT now FROM clock")
    return 0 if row is None else row["now"]


def _event(number: int, job: Job) -> str:
    return f"id: {number}\nevent: job\ndata: {job.model_dump_json()}\n\n"
