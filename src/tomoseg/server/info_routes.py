"""Routes that describe the server and its models."""

from __future__ import annotations

from fastapi import APIRouter

from tomoseg.server.app import API
from tomoseg.server.guard import API_VERSION
from tomoseg.server.offers import formats
from tomoseg.server.records import Health, Info, Limits, OfferedModel
from tomoseg.server.service import ServiceOf
from tomoseg.server.uploads import SUFFIXES
from tomoseg.version import __version__

router = APIRouter(tags=["server"])


@router.get("/health")
async def health(service: ServiceOf) -> Health:
    """Report that the server answers, whatever its workers do; needs no token."""
    return Health(status="ok", tomoseg=__version__, api=API_VERSION, token=service.asks_for_token)


@router.get(f"{API}/info")
def info(service: ServiceOf) -> Info:
    """Return version, models, formats and limits."""
    rules = service.rules
    names = list(service.offers)
    return Info(
        tomoseg=__version__,
        api=API_VERSION,
        default_model=names[0],
        models=names,
        formats=formats(),
        suffixes=list(SUFFIXES),
        limits=Limits(
            upload_bytes=rules.upload_bytes,
            quota_bytes=rules.quota_bytes,
            used_bytes=service.uploads.used_bytes(),
            keep_hours=rules.keep_seconds / 3600,
            job_minutes=rules.job_seconds / 60,
            job_memory_bytes=rules.job_memory_bytes,
        ),
    )


@router.get(f"{API}/models")
def models(service: ServiceOf) -> list[OfferedModel]:
    """Return the models with their structures."""
    return [one.shape for one in service.offers.values()]
