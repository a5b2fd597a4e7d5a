"""Routes of the MONAI Label interface for training: start, status, stop."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse

from tomoseg.server.refusals import RefusalError, answer_of
from tomoseg.server.service import Service, ServiceOf

router = APIRouter(tags=["MONAI Label"])

Params = Annotated[dict[str, Any] | None, Body()]


@router.get("/train/")
def train_status(
    service: ServiceOf,
    check_if_running: Annotated[bool, Query()] = False,
    every: Annotated[bool, Query(alias="all")] = False,
) -> JSONResponse:
    """Return the present or last training; 404 if there is none."""
    trainer = service.trainer
    if trainer.last is None or (check_if_running and not trainer.is_running):
        return JSONResponse(
            answer_of("expected a training run, found none; POST /train/ starts one"), HTTPStatus.NOT_FOUND
        )
    shown = trainer.last.shown()
    return JSONResponse([shown] if every and not check_if_running else shown)


@router.post("/train/")
def train_default(service: ServiceOf, params: Params = None) -> dict[str, Any]:
    """Start a training from the model named in `model`, or from the default."""
    given = params or {}
    model = given.get("model")
    started = _start(service, model if isinstance(model, str) else None, given)
    return {started["request"]["model"]: {"result": started, "detail": None}}


@router.post("/train/{model}")
def train(model: str, service: ServiceOf, params: Params = None) -> dict[str, Any]:
    """Start a training from a model."""
    return _start(service, model, params or {})


@router.delete("/train/")
def stop_training(service: ServiceOf) -> dict[str, Any] | None:
    """Stop the training; its model is discarded."""
    stopped = service.trainer.stop()
    return None if stopped is None else stopped.shown()


def trainers(service: Service) -> dict[str, Any]:
    """Return the models that a training can start from, for `/info/`.

    Args:
        service: The service of the server.
    """
    minutes = service.trainer.learning.minutes
    return {
        name: {
            "labels": [one.name for one in service.offers[name].shape.structures],
            "description": f"continue from {name} with the labels that were submitted",
            "config": {"minutes": minutes},
        }
        for name in service.trainer.trainable
    }


def train_stats(service: Service) -> dict[str, Any]:
    """Return the progress of the last training, for `/info/`.

    Args:
        service: The service of the server.
    """
    last = service.trainer.last
    return {} if last is None else {last.model: last.stats()}


def _start(service: Service, model: str | None, params: dict[str, Any]) -> dict[str, Any]:
    return service.trainer.start(model, _minutes(model, params)).shown()


def _minutes(model: str | None, params: dict[str, Any]) -> float | None:
    """Return the minutes that a client requests, for this model or for any.

    Raises:
        RefusalError: If the value is not a duration.
    """
    of_model = params.get(model or "")
    given = of_model.get("minutes") if isinstance(of_model, dict) else params.get("minutes")
    if given is None:
        return None
    try:
        minutes = float(given)
    except (TypeError, ValueError):
        minutes = math.nan
    if not (math.isfinite(minutes) and minutes > 0):
        text = "minutes: expected a number above 0, got another; correct it"
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
    return minutes
