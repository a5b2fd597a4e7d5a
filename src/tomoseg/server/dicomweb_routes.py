"""Routes through which OHIF with MONAI Label's plug-in reads images from the PACS behind the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from tomoseg.server.dicomweb import UID
from tomoseg.server.label_store import NO_DICOMWEB
from tomoseg.server.refusals import RefusalError
from tomoseg.server.service import Service, ServiceOf

router = APIRouter(tags=["MONAI Label"])


@router.get("/proxy/dicom/{kind}/{path:path}", response_class=StreamingResponse)
async def dicomweb(
    kind: Literal["qido", "wado"],
    path: str,
    request: Request,
    service: ServiceOf,
    accept: Annotated[str, Header()] = "*/*",
) -> StreamingResponse:
    """Forward a search or a retrieval to the PACS.

    Raises:
        RefusalError: If there is no PACS, it cannot be reached, or the path is not of DICOMweb.
    """
    if service.pacs is None:
        raise RefusalError(HTTPStatus.NOT_IMPLEMENTED, NO_DICOMWEB)
    async with AsyncExitStack() as stack:
        answer = await stack.enter_async_context(service.pacs.answer(path, request.url.query, accept))
        held = stack.pop_all()

    async def pieces() -> AsyncIterator[bytes]:
        async with held:
            async for piece in answer.aiter_raw():
                yield piece

    kinds = answer.headers.get("content-type")
    return StreamingResponse(pieces(), answer.status_code, {"cache-control": "no-store"}, kinds)


async def image_of(service: Service, name: str) -> str:
    """Return the upload of an image; a missing series is fetched from the PACS, if there is one.

    Args:
        service: The service.
        name: The client's name of an image, an upload's id, or a Series Instance UID.

    Raises:
        RefusalError: If there is no such image.
    """
    if service.pacs is None or UID.fullmatch(name) is None or await run_sync(service.labels.has_image, name):
        return await run_sync(service.labels.image, name)
    upload = await service.pacs.fetched(name, service.uploads)
    await run_sync(service.labels.name_image, name, upload)
    return upload
