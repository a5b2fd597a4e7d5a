"""Limits of connections, and what the server logs: not too many, none that says nothing or trickles; no values."""

from __future__ import annotations

import asyncio
import logging
import traceback
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tomoseg.server.refusals import RefusalError

MOST_CONNECTIONS = 500
"""At once; requests of others are answered with 503."""

SILENT_SECONDS = 20.0
"""A connection on which no whole request head comes for so long, or for twice as long at most, is closed."""

SLOW_SECONDS, FEWEST_BYTES = 30.0, 60_000
"""A body of which fewer bytes come in so long is not waited for: no network of these days is as slow."""


class ImpatientProtocol(H11Protocol):
    """HTTP that does not wait for ever for who sends a request byte by byte, or none."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As asyncio asks for it."""
        super().connection_made(transport)
        self._seen: Any = self  # no request of ours
        self.loop.call_later(SILENT_SECONDS, self._look)

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle if is_idle else self
        self.loop.call_later(SILENT_SECONDS, self._look)


class TooSlowError(RefusalError):
    """A body that comes byte by byte; what came of an upload by tus is kept."""

    def __init__(self) -> None:
        text = (
            f"expected at least {FEWEST_BYTES} bytes in {SLOW_SECONDS:g} seconds, got fewer; send it again, or by tus"
        )
        super().__init__(HTTPStatus.REQUEST_TIMEOUT, f"{text}, which goes on where it was cut")


class Patience:
    """Does not wait for ever for bodies that trickle in.

    Args:
        app: What reads them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks for it."""
        is_read = scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}
        await self._app(scope, _Body(receive) if is_read else receive, send)


class _Body:
    """The body of a request, as long as it comes fast enough; afterwards what else is heard of the connection.

    Args:
        receive: What it is heard from.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False
        self._came = 0
        self._until = asyncio.get_running_loop().time() + SLOW_SECONDS

    async def __call__(self) -> Message:
        """The next piece.

        Raises:
            TooSlowError: If too little came.
        """
        if self._is_whole:
            return await self._receive()
        while True:
            left = self._until - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    message = await self._receive()
                break
            except TimeoutError:
                if self._came < FEWEST_BYTES:
                    raise TooSlowError from None
                self._came, self._until = 0, asyncio.get_running_loop().time() + SLOW_SECONDS
        self._came += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message


class WithoutValues(logging.Filter):
    """An error as it is logged: its kind and the lines of code, without its words, which may quote what was sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        """As logging asks for it."""
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            lines = "".join(traceback.format_tb(trace))
            record.msg, record.args = f"{record.getMessage()}{kind.__name__}\n{lines}", ()
            record.exc_info = record.exc_text = None
        return True


def log_no_values() -> None:
    """Let uvicorn log no values."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, WithoutValues) for one in logger.filters):
        logger.addFilter(WithoutValues())
