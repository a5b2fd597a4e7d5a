"""Pages that this machine serves at an address that cannot be guessed, for as long as somebody has them open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tomoseg.options import ViewOptions
from tomoseg.server.app import PAGE, create_app

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


@runtime_checkable
class Shown(Protocol):
    """What a page shows: a scan and its masks, or a run.

    Attributes:
        options: Where it is shown.
        secret: The part of the page's address that cannot be guessed.
        guests: Who looks.
    """

    options: ViewOptions
    secret: str
    guests: Guests

    @property
    def ends_with_page(self) -> bool:
        """Whether nothing is served any more once the last page has been closed."""

    def app(self) -> FastAPI:
        """The application that serves it."""


def secret_app(shown: Shown, router: APIRouter) -> FastAPI:
    """The page, and what it asks for; all of it lies below the secret part of the address.

    Args:
        shown: What it shows.
        router: What it asks for.
    """
    place = f"/{shown.secret}"
    whole = APIRouter(prefix=place)

    @whole.get("/open")
    def stay_open() -> StreamingResponse:
        return StreamingResponse(shown.guests.stay(), media_type="text/event-stream")

    whole.include_router(router)
    app = create_app([whole], page=None)
    app.mount(place, StaticFiles(directory=PAGE, html=True))
    if shown.options.host in LOOPBACK:
        # A page elsewhere whose name was made to lead here would be of another origin in name only.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return app
