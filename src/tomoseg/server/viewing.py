"""The server of `tomoseg view`: one page on local files, at an address that cannot be guessed, while it is open."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from tomoseg.errors import InputError
from tomoseg.options import ViewOptions
from tomoseg.server.app import PAGE, create_app
from tomoseg.server.scene_answers import described, volume_answer
from tomoseg.workflows.scenes import Scene
from tomoseg.workflows.view import ViewCase, Views, open_scene

KEPT_SCENES = 2
"""Cases in memory: the one that is shown, and the one before."""

BEAT_SECONDS = 10.0
"""A page that has gone without a word is noticed when it is written to."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass
class Guests:
    """The pages that are open.

    Attributes:
        now: How many.
        last_left: When the last one left, by the monotonic clock; None while there is one, or has been none yet.
        closing: Whether they are to be let go.
    """

    now: int = 0
    last_left: float | None = None
    closing: bool = False

    async def stay(self) -> AsyncIterator[str]:
        """What one of them is told as long as it is there: nothing, now and then."""
        self.now += 1
        self.last_left = None
        try:
            yield ": open\n\n"
            waited = 0.0
            while not self.closing:
                await asyncio.sleep(0.2)
                waited += 0.2
                if waited >= BEAT_SECONDS:
                    waited = 0.0
                    yield ": open\n\n"
        finally:
            self.now -= 1
            if self.now == 0:
                self.last_left = time.monotonic()

    def have_left(self, seconds: float) -> bool:
        """Whether the last one left so long ago; a page that is loaded again is away for a moment."""
        return self.last_left is not None and time.monotonic() - self.last_left > seconds


@dataclass
class Viewing:
    """What one server shows.

    Attributes:
        views: The cases.
        options: How they are read.
        secret: The part of the page's address that cannot be guessed.
        guests: Who looks.
    """

    views: Views
    options: ViewOptions
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    guests: Guests = field(default_factory=Guests)
    _scenes: OrderedDict[int, Scene] = field(default_factory=OrderedDict)
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def case(self, number: int) -> ViewCase:
        """One of the cases.

        Raises:
            InputError: If there is none of that number.
        """
        if not 0 <= number < len(self.views.cases):
            raise InputError(f"expected a case below {len(self.views.cases)}, got {number}; load the page again")
        return self.views.cases[number]

    def scene(self, number: int) -> Scene:
        """What is shown of a case, read when it is first asked for; one at a time, however many ask.

        Raises:
            TomosegError: If it cannot be shown.
        """
        case = self.case(number)
        with self._opening:
            scene = self._scenes.get(number) or open_scene(case, self.options)
            self._scenes[number] = scene
            self._scenes.move_to_end(number)
            while len(self._scenes) > KEPT_SCENES:
                self._scenes.popitem(last=False)
            return scene


def create_view_app(viewing: Viewing) -> FastAPI:
    """The application of one viewing; all of it lies below the secret part of the address."""
    app = create_app([_routes(viewing)], page=None)
    app.mount(f"/{viewing.secret}", StaticFiles(directory=PAGE, html=True))
    if viewing.options.host in LOOPBACK:
        # A page elsewhere whose name was made to lead here would be of another origin in name only.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return app


def _routes(viewing: Viewing) -> APIRouter:
    router = APIRouter(prefix=f"/{viewing.secret}")

    @router.get("/session")
    def session() -> dict[str, Any]:
        views = viewing.views
        return {
            "kind": "cases",
            "title": views.title,
            "language": viewing.options.lang,
            "measure": views.measure,
            "cases": [{"name": case.name, "score": case.score, "verdict": None} for case in views.cases],
            "reviewer": None,
        }

    @router.get("/open")
    def stay_open() -> StreamingResponse:
        return StreamingResponse(viewing.guests.stay(), media_type="text/event-stream")

    @router.get("/cases/{number}")
    def case(number: int) -> dict[str, Any]:
        one = viewing.case(number)
        return described(viewing.scene(number), one.name, one.scan)

    @router.get("/cases/{number}/hu")
    def hu(number: int) -> Response:
        return volume_answer(viewing.scene(number).hu)

    @router.get("/cases/{number}/cells")
    def cells(number: int) -> Response:
        return volume_answer(viewing.scene(number).cells.values)

    @router.get("/cases/{number}/reference")
    def reference(number: int) -> Response:
        found = viewing.scene(number).reference
        if found is None:
            raise InputError("expected a case with a reference, got one without; load the page again")
        return volume_answer(found.values)

    return router
