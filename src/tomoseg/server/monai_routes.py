"""Routes of the MONAI Label interface, for its extensions of 3D Slicer, MITK and OHIF.

They follow what these clients send and parse, not MONAI Label's server. Values of a label map run from 1 without gaps,
since Slicer takes a value for the rank of its name; responses have a length and are never chunked, since clients read
the socket themselves; clients' names of images are stored as digests, since they may contain a patient's name.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from tomoseg.server.dicomweb_routes import image_of
from tomoseg.server.guard import is_token, token_digest
from tomoseg.server.keeping import Sent, keep
from tomoseg.server.label_store import names_in
from tomoseg.server.receiving import receive_upload
from tomoseg.server.records import ENDS, LABEL_MAP_STEM, Job, ResultStructure
from tomoseg.server.refusals import RefusalError
from tomoseg.server.renumbering import Kind, renumbered
from tomoseg.server.service import Service, ServiceOf
from tomoseg.server.train_routes import train_stats, trainers
from tomoseg.server.watching import until
from tomoseg.version import __version__

router = APIRouter(tags=["MONAI Label"])

WAIT_SECONDS = 5.0
"""Seconds between checks of a job, should a notification of its change be missed."""

STRATEGY = "triage"

_CHUNK_BYTES = 1 << 20
_PART_HEADS = "\r\n".join(
    [
        "--{boundary}",
        'Content-Disposition: form-data; name="params"',
        "Content-Type: application/json",
        "",
        "{params}",
        "--{boundary}",
        'Content-Disposition: form-data; name="image"; filename="image{ending}"',
        "Content-Type: application/octet-stream",
        "",
        "",
    ]
)
"""Headers of the parts; MITK finds them by their order and exact words."""


@router.get("/auth/")
def auth(service: ServiceOf) -> dict[str, bool]:
    """Report whether a login is required: any name, with the token as its password."""
    return {"enabled": service.asks_for_token}


@router.post("/auth/token")
async def login(request: Request, service: ServiceOf) -> dict[str, str]:
    """Accept the token as a password.

    Raises:
        RefusalError: If it is wrong.
    """
    form = await request.form(max_files=0, max_fields=10)
    token, digest = str(form.get("password", "")), token_digest(service.database)
    if service.asks_for_token and (digest is None or not is_token(token, digest)):
        raise RefusalError(
            HTTPStatus.UNAUTHORIZED, "expected the server's token as the password, got another; correct it"
        )
    return {"access_token": token, "token_type": "bearer"}


@router.get("/auth/token/valid")
def is_valid() -> dict[str, bool]:
    """Confirm the token; with a wrong one the status is 401."""
    return {"valid": True}


@router.get("/info/")
def info(service: ServiceOf) -> dict[str, Any]:
    """Return models, strategies and trainers."""
    models = {name: _model(service, name) for name in service.offers}
    images, labelled = service.labels.images(), service.labels.newest()
    labels = list(dict.fromkeys(label for one in models.values() for label in one["labels"]))
    return {
        "name": "tomoseg",
        "description": "Multi-label segmentation of CT",
        "version": __version__,
        "labels": labels,
        "models": models,
        "trainers": trainers(service),
        "strategies": {STRATEGY: {"description": "the image next that the model is least sure of"}},
        "scoring": {},
        "train_stats": train_stats(service),
        "datastore": {"total": len(images), "completed": len(labelled)},
    }


@router.put("/session/")
async def begin_session(
    request: Request, service: ServiceOf, content_type: Annotated[str, Header()] = ""
) -> dict[str, Any]:
    """Upload an image for a session."""
    upload, _ = await _received(request, service, content_type, ("files", "file"))
    return _session(service, upload)


@router.get("/session/{session}")
def session(session: str, service: ServiceOf) -> dict[str, Any]:
    """Return a session, or 404, after which a client uploads its image again."""
    return _session(service, session)


@router.delete("/session/{session}")
def end_session(session: str, service: ServiceOf) -> dict[str, Any]:
    """End a session."""
    ended = _session(service, session)
    service.uploads.remove_if_unused(session)
    return ended


@router.post("/infer/{model}")
async def infer(
    model: str,
    request: Request,
    service: ServiceOf,
    image: Annotated[str, Query()] = "",
    session_id: Annotated[str, Query()] = "",
    output: Annotated[str, Query()] = "all",
    content_type: Annotated[str, Header()] = "",
) -> Response:
    """Segment an image, uploaded with the request or before.

    Raises:
        RefusalError: If the job fails.
    """
    upload, texts = await _received(request, service, content_type, ("file",), is_needed=False)
    params = _params(texts)
    chosen = upload or session_id or await image_of(service, image)
    is_dicom = output == "dicom_seg"
    options = {"format": ["dicom-seg"]} if is_dicom else {"ml": True, "format": ["nifti", "nrrd"]}
    job, _ = await run_sync(service.make_job, [chosen], model, options)
    ended = await _end(service, job)
    if ended.state != "done":
        raise RefusalError(
            HTTPStatus.UNPROCESSABLE_ENTITY, ended.reason or f"expected a result, got a job that was {ended.state}"
        )
    if is_dicom:
        path = await run_sync(service.result_file, job.id, "segmentation.seg.dcm")
        return FileResponse(path, media_type="application/octet-stream", filename="segmentation.dcm")
    return await run_sync(_answer, service, ended, params, output)


@router.put("/datastore/")
@router.put("/datastore/image")
async def add_image(
    request: Request,
    service: ServiceOf,
    image: Annotated[str, Query()] = "",
    content_type: Annotated[str, Header()] = "",
) -> dict[str, str]:
    """Store an image under the client's name, of which a digest is kept, or under a new id."""
    upload, _ = await _received(request, service, content_type, ("file",))
    if image:
        await run_sync(service.labels.name_image, image, upload)
    return {"image": image or upload}


@router.get("/datastore/image")
def get_image(service: ServiceOf, image: Annotated[str, Query()]) -> FileResponse:
    """Download an image as it was uploaded.

    Raises:
        RefusalError: If there is no such image, or it has several files.
    """
    row = service.uploads.row(service.labels.image(image))
    if row["files"] != 1:
        text = "expected an image of one file, got a series of several; send it as a zip"
        raise RefusalError(HTTPStatus.CONFLICT, text)
    path = service.uploads.file(row["id"], 1, row["suffix"])
    return FileResponse(path, media_type="application/octet-stream", filename=f"image{row['suffix']}")


@router.put("/datastore/label")
async def add_label(
    request: Request,
    service: ServiceOf,
    image: Annotated[str, Query()],
    tag: Annotated[str, Query()] = "final",
    content_type: Annotated[str, Header()] = "",
) -> dict[str, Any]:
    """Store a corrected label map of an image as a new version, and as corrections.

    Raises:
        RefusalError: If it cannot be read, or lies on another grid than the image; nothing is stored then.
    """
    known = await run_sync(service.labels.image, image)
    upload, texts = await _received(request, service, content_type, ("label",))
    params = _params(texts)
    try:
        kept = await run_sync(_keep, service, known, upload, params)
    except RefusalError:
        await run_sync(service.uploads.remove, upload)
        raise
    await run_sync(service.labels.add, known, upload, tag or "final", params)
    return {"image": image, "label": known, "structures": kept}


def _keep(service: Service, image: str, upload: str, params: dict[str, Any]) -> list[str]:
    """Store a label map as corrections, and return the names of its structures.

    Raises:
        RefusalError: If it cannot be read.
    """
    label, scan = (str(service.uploads.scan_of([one], Path())) for one in (upload, image))
    values = {value: str(name) for name, value in names_in(params).items() if isinstance(value, int)}
    sent = Sent(label, scan, image, values, str(params.get("client_id", ""))[:100], str(service.folder))
    return keep(sent, service.rules.job_memory_bytes)


@router.head("/datastore/label", include_in_schema=False)
@router.get("/datastore/label")
def get_label(
    service: ServiceOf, label: Annotated[str, Query()], tag: Annotated[str, Query()] = "final"
) -> FileResponse:
    """Download the newest version of a label map.

    Raises:
        RefusalError: If there is none.
    """
    row = service.uploads.row(service.labels.get(label, tag).upload)
    path = service.uploads.file(row["id"], 1, row["suffix"])
    return FileResponse(path, media_type="application/octet-stream", filename=f"label{row['suffix']}")


@router.post("/activelearning/{strategy}")
def next_image(strategy: str, service: ServiceOf) -> dict[str, Any]:
    """Return the image to be corrected next, the one that the model is least confident of; {} if none is left."""
    labelled = service.labels.newest()
    left = [row for row in service.labels.images() if row["id"] not in labelled]
    if not left:
        return {}
    sure = {row["id"]: _sureness(service, row["id"]) for row in left}
    row = min(left, key=lambda one: sure[one["id"]])
    return {
        "id": row["id"],
        "name": f"image{row['suffix']}",
        "path": "",
        "checksum": f"SHA256:{row['sha256']}",
        "weight": round(1 - sure[row["id"]], 4),
    }


def _model(service: Service, name: str) -> dict[str, Any]:
    labels = [one.name for one in service.offers[name].shape.structures]
    return {"type": "segmentation", "labels": labels, "dimension": 3, "description": f"tomoseg: {name}", "config": {}}


async def _received(
    request: Request, service: Service, content_type: str, names: tuple[str, ...], is_needed: bool = True
) -> tuple[str, dict[str, bytes]]:
    """Receive a form's upload and texts.

    Raises:
        RefusalError: If a file is required and missing.
    """
    if not is_needed and not content_type.startswith("multipart/"):
        return "", {}
    length = request.headers.get("content-length")
    upload, received = await receive_upload(
        service.uploads, request.stream(), content_type, None if length is None else int(length), names
    )
    if is_needed and not upload:
        text = f"expected a part {names[0]!r} with a file name, got none; add it"
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
    return upload, received.texts


def _params(texts: dict[str, bytes]) -> dict[str, Any]:
    try:
        found = json.loads(texts.get("params") or b"{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _session(service: Service, upload: str) -> dict[str, Any]:
    row = service.uploads.row(upload)
    return {"session_id": row["id"], "session_info": {"name": "image", "creation_ts": int(row["created"])}}


def _sureness(service: Service, upload: str) -> float:
    """Return the mean expected Dice of the model's masks; 0 if none was rated."""
    row = service.database.first(
        "SELECT jobs.id AS id FROM jobs, json_each(jobs.uploads) AS one WHERE one.value = ? AND state = 'done' "
        "ORDER BY number DESC",
        upload,
    )
    if row is None:
        return 0.0
    rated = [one.expected_dice for one in service.result(row["id"]).structures if one.expected_dice is not None]
    return sum(rated) / len(rated) if rated else 0.0


async def _end(service: Service, job: Job) -> Job:
    """Wait for a job to end, and return it."""
    while True:
        change = service.watch.next_change
        shown = await run_sync(service.job, job.id)
        if shown.state in ENDS:
            return shown
        await until(change, WAIT_SECONDS)


def _answer(service: Service, job: Job, params: dict[str, Any], output: str) -> Response:
    """Return a multipart response of values with their names, and the label map."""
    structures = service.result(job.id).structures
    numbers = {one.id: number for number, one in enumerate(structures, start=1)}
    names = {one.name: number for number, one in enumerate(structures, start=1)}
    said = {"label_names": names, "centroids": _centroids(names, structures), "job": job.id}
    if output == "json":
        return JSONResponse({"params": said})
    kind, ending = _kind(params)
    path = service.result_file(job.id, f"{LABEL_MAP_STEM}.{'nii.gz' if kind == 'nifti' else 'seg.nrrd'}")
    compressed = params.get("result_compress", True) is not False
    made = TemporaryFile(dir=service.folder)  # noqa: SIM115  # closed once it is sent
    is_wide = params.get("result_dtype") == "uint16"  # requested by OHIF
    for piece in renumbered(path, kind, numbers, compressed, is_wide):
        made.write(piece)
    size = made.tell()
    if output == "image":
        headers = {"content-disposition": f'attachment; filename="image{ending}"', "content-length": str(size)}
        return StreamingResponse(_pieces(b"", made, b""), media_type="application/octet-stream", headers=headers)
    boundary = secrets.token_hex(16)
    before = _PART_HEADS.format(boundary=boundary, params=json.dumps(said), ending=ending).encode()
    after = f"\r\n--{boundary}--\r\n".encode()
    headers = {"content-length": str(len(before) + size + len(after))}
    kinds = f"multipart/form-data; boundary={boundary}"
    return StreamingResponse(_pieces(before, made, after), media_type=kinds, headers=headers)


def _centroids(names: dict[str, int], structures: Sequence[ResultStructure]) -> dict[str, list[float]]:
    """Return value and centre of each structure that was found, for some versions of OHIF."""
    return {one.name: [names[one.name], *one.centroid_mm] for one in structures if one.centroid_mm is not None}


def _kind(params: dict[str, Any]) -> tuple[Kind, str]:
    wanted = str(params.get("result_extension", ""))
    return ("nrrd", ".nrrd") if wanted.endswith("nrrd") else ("nifti", ".nii.gz")


def _pieces(before: bytes, made: Any, after: bytes) -> Iterator[bytes]:
    with made:
        made.seek(0)
        yield before
        while piece := made.read(_CHUNK_BYTES):
            yield piece
        yield after
