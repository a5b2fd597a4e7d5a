"""Limits of connections, and what the server itself logs: no more than so many, none that says nothing, no values."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 500
"""At once; requests of others are answered with 503."""

SILENT_SECONDS = 20.0
"""A connection on which no whole request head comes for so long, or for twice as long at most, is closed."""


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
