"""Limits on number, silence and speed of connections, and logging without values."""

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
"""Largest number of connections; further requests get status 503."""

SILENT_SECONDS = 20.0
"""Seconds without a complete request head after which, and at the latest after twice as many, connections close."""

SLOW_SECONDS, FEWEST_BYTES = 30.0, 60_000
"""Seconds, and the bytes of a body that must arrive in them: no present network is slower."""


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 protocol that closes connections without a complete request head in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start watching a connection, called by asyncio."""
        super().connection_made(transport)
        self._seen: Any = self  # differs from any request
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
    """A body that arrives too slowly; bytes of a tus upload that have arrived are kept."""

    def __init__(self) -> None:
        text = (
            f"expected at least {FEWEST_BYTES} bytes in {SLOW_SECONDS:g} seconds, got fewer; send it again, or use tus"
        )
        super().__init__(HTTPStatus.REQUEST_TIMEOUT, f"{text}, which continues where it stopped")


class Patience:
    """Middleware that ends requests whose body arrives too slowly.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        is_read = scope["type"] == "http" and scope["method"] not in {"GET", "HEAD", "OPTIONS"}
        await self._app(scope, _Body(receive) if is_read else receive, send)


class _Body:
    """Receives the body of a request while it arrives fast enough, and all later messages.

    Args:
        receive: The ASGI callable that it wraps.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False
        self._came = 0
        self._until = asyncio.get_running_loop().time() + SLOW_SECONDS

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            TooSlowError: If too few bytes arrived.
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
    """Logs errors by type and traceback, without their message, which may quote patient data."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message of an exception, called by logging."""
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            lines = "".join(traceback.format_tb(trace))
            record.msg, record.args = f"{record.getMessage()}{kind.__name__}\n{lines}", ()
            record.exc_info = record.exc_text = None
        return True


def log_no_values() -> None:
    """Make uvicorn log errors without values."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, WithoutValues) for one in logger.filters):
        logger.addFilter(WithoutValues())
