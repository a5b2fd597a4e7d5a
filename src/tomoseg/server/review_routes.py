"""Further routes of the MONAI Label interface, for its reviewer in 3D Slicer and OHIF's plug-in."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request

from tomoseg.server.label_store import KeptLabel
from tomoseg.server.refusals import RefusalError
from tomoseg.server.service import Service, ServiceOf

router = APIRouter(tags=["MONAI Label"])

LONGEST_BYTES = 100_000
"""Size limit of a label's metadata."""


@router.get("/datastore/")
def datastore(service: ServiceOf, output: Annotated[str, Query()] = "") -> dict[str, Any]:
    """Return the number of images, or all of them with the metadata of their labels."""
    images, labels = service.labels.images(), service.labels.newest()
    if output != "all":
        tags: dict[str, int] = {}
        for tag in (tag for found in labels.values() for tag in found):
            tags[tag] = tags.get(tag, 0) + 1
        return {"total": len(images), "completed": len(labels), "label_tags": tags}
    objects = {
        row["id"]: {
            "image": {"info": _of_image(row), "ext": row["suffix"]},
            "labels": {tag: _label(service, one) for tag, one in labels.get(row["id"], {}).items()},
        }
        for row in images
    }
    return {"name": "tomoseg", "objects": objects}


@router.get("/datastore/image/info")
def image_info(service: ServiceOf, image: Annotated[str, Query()]) -> dict[str, Any]:
    """Return the metadata of an image."""
    return _of_image(service.uploads.row(service.labels.image(image)))


@router.get("/datastore/label/info")
def label_info(
    service: ServiceOf, label: Annotated[str, Query()], tag: Annotated[str, Query()] = "final"
) -> dict[str, Any]:
    """Return the metadata of a label map."""
    return _of_label(service.labels.get(label, tag))


@router.put("/datastore/label/info")
@router.put("/datastore/updatelabelinfo")
async def update_label_info(
    request: Request, service: ServiceOf, label: Annotated[str, Query()], tag: Annotated[str, Query()] = "final"
) -> dict[str, Any]:
    """Add metadata to a label map: who approved it, its difficulty, a comment.

    Raises:
        RefusalError: If there is no such label map, or the metadata is not a JSON object, or too long.
    """
    form = await request.form(max_files=0, max_fields=10, max_part_size=LONGEST_BYTES)
    await run_sync(service.labels.say, label, tag, _object(str(form.get("params") or form.get("info") or "")))
    return {}


@router.delete("/datastore/label")
def delete_label(
    service: ServiceOf,
    label: Annotated[str, Query(alias="id")],
    tag: Annotated[str, Query()] = "final",
) -> dict[str, Any]:
    """Remove a label map; corrections made of it are kept."""
    service.labels.remove(label, tag)
    return {}


def _object(text: str) -> dict[str, Any]:
    """Parse the metadata in a form.

    Raises:
        RefusalError: If it is not a JSON object, or too long.
    """
    try:
        found = json.loads(text) if len(text) <= LONGEST_BYTES else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        shape = f"a JSON object of at most {LONGEST_BYTES} bytes"
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, f"params: expected {shape}, got another; correct it")
    return found


def _of_image(row: Any) -> dict[str, Any]:
    return {"ts": int(row["created"]), "checksum": f"SHA256:{row['sha256']}", "name": f"image{row['suffix']}"}


def _label(service: Service, kept: KeptLabel) -> dict[str, Any]:
    return {"info": _of_label(kept), "ext": service.uploads.row(kept.upload)["suffix"]}


def _of_label(kept: KeptLabel) -> dict[str, Any]:
    return {**kept.info, "name": "label", "params": {"label_names": kept.names}}
