"""Pages that are served at an unguessable address for as long as they are open."""

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

from tomoseg.hosts import LOOPBACK
from tomoseg.options import ViewOptions
from tomoseg.server.app import PAGE, create_app

BEAT_SECONDS = 10.0
"""Seconds between messages, by which a closed page is noticed."""


@dataclass
class Guests:
    """Counts the open pages.

    Attributes:
        now: Number of open pages.
        last_left: Time of the monotonic clock at which the last one closed; None while one is open, or before any.
        closing: Whether their connections are to be closed.
    """

    now: int = 0
    last_left: float | None = None
    closing: bool = False

    async def stay(self) -> AsyncIterator[str]:
        """Yield empty messages for one page while it is open."""
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
        """Return True if the last page closed at least so long ago; reloading a page closes it for a moment."""
        return self.last_left is not None and time.monotonic() - self.last_left > seconds


@runtime_checkable
class Shown(Protocol):
    """Content that a page shows: scans with masks, or a training run.

    Attributes:
        options: Address and language.
        secret: The unguessable part of the page's address.
        guests: The open pages.
    """

    options: ViewOptions
    secret: str
    guests: Guests

    @property
    def ends_with_page(self) -> bool:
        """Whether the server ends when the last page is closed."""

    def app(self) -> FastAPI:
        """Create the application that serves it."""


def secret_app(shown: Shown, router: APIRouter) -> FastAPI:
    """Create the application of a page and its routes, below the secret part of the address.

    Args:
        shown: The content.
        router: Routes of the page's requests.
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
        # Against DNS rebinding: a page elsewhere whose name resolves to this machine would count as the same origin.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return app
