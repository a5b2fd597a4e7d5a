"""The server of `tomoseg view RUN`: a training run's epochs so far, and new ones as they are written."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from tomoseg.errors import InputError
from tomoseg.files.label_names import label_set_named
from tomoseg.hosts import LOOPBACK
from tomoseg.options import ViewOptions
from tomoseg.pictures.structure_names import readable, readable_group
from tomoseg.server.guests import BEAT_SECONDS, Guests, secret_app
from tomoseg.workflows.watched_run import Seen, WatchedRun, look_at, picture_path, pictures_in

LOOK_SECONDS = 1.0
"""Seconds between checks of the run folder."""


@dataclass
class RunViewing:
    """A run that is shown.

    Attributes:
        run: The run.
        options: Address and language.
        secret: The unguessable part of the page's address.
        guests: The open pages.
    """

    run: WatchedRun
    options: ViewOptions
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    guests: Guests = field(default_factory=Guests)

    @property
    def ends_with_page(self) -> bool:
        """True on this machine alone: remote viewers come and go during training."""
        return self.options.host in LOOPBACK

    def app(self) -> FastAPI:
        """Create the application that serves it."""
        return secret_app(self, _routes(self))

    def look(self) -> list[Seen]:
        """Read what each part has written so far."""
        return [look_at(part) for part in self.run.parts]

    async def news(self) -> AsyncIterator[str]:
        """Yield everything, then changes, as server-sent events.

        For each part that has changed, an event has its state and the epochs that changed.
        """
        told: list[Seen | None] = [None] * len(self.run.parts)
        waited = 0.0
        while not self.guests.closing:
            seen = await run_in_threadpool(self.look)
            changed = [n for n, (before, now) in enumerate(zip(told, seen, strict=True)) if before != now]
            if changed:
                news = [{"part": n, **_since(told[n], seen[n])} for n in changed]
                yield f"data: {json.dumps(news, allow_nan=False)}\n\n"
                told, waited = list(seen), 0.0
            elif waited >= BEAT_SECONDS:
                yield ": nothing new\n\n"
                waited = 0.0
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS


def _since(before: Seen | None, now: Seen) -> dict[str, Any]:
    """Return what is new in a part; everything if earlier epochs have changed."""
    kept = 0 if before is None else len(before.epochs)
    first = kept if before is not None and now.epochs[:kept] == before.epochs else 0
    return {
        "state": now.state,
        "written": now.written,
        "odd_lines": now.odd_lines,
        "pictures": now.pictures,
        "first": first,
        "epochs": now.epochs[first:],
        "structures": _structures(now.epochs) if first == 0 or not _named(now.epochs[:first]) else None,
    }


def _named(epochs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the structures with a validation Dice, in order."""
    return list(dict.fromkeys(name for record in epochs for name in record["dice"]))


def _structures(epochs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = _named(epochs)
    return [
        {
            "name": one.name,
            "title": {"en": readable(one.name), "fr": readable(one.name, "fr")},
            "group": {"en": readable_group(one.group), "fr": readable_group(one.group, "fr")},
            "colour": list(one.colour),
        }
        for one in (label_set_named(names) if names else ())
    ]


def _routes(viewing: RunViewing) -> APIRouter:
    router = APIRouter()
    run = viewing.run

    @router.get("/session")
    def session() -> dict[str, Any]:
        names = [part.name for part in run.parts]
        return {"kind": "run", "title": run.title, "language": viewing.options.lang, "parts": names}

    @router.get("/run")
    def everything() -> list[dict[str, Any]]:
        both = zip(run.parts, viewing.look(), strict=True)
        return [{"name": part.name, **asdict(seen), "structures": _structures(seen.epochs)} for part, seen in both]

    @router.get("/run/{number}/pictures/{structure}/{epoch}")
    def picture(number: int, structure: str, epoch: int) -> FileResponse:
        part = run.parts[number] if 0 <= number < len(run.parts) else None
        if part is None or epoch not in pictures_in(part.folder).get(structure, ()):
            raise InputError("expected a picture of this run, got another; reload the page")
        return FileResponse(picture_path(part.folder, structure, epoch), media_type="image/png")

    @router.get("/run/events")
    def events() -> StreamingResponse:
        return StreamingResponse(viewing.news(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    return router
