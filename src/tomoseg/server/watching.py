"""Waking watchers of jobs when the database changes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path

from tomoseg.server.database import Database
from tomoseg.server.refusals import RefusalError

LOOK_SECONDS = 0.1
"""Seconds between checks for changes."""

MOST_WATCHERS = 200
"""Largest number of concurrent event streams."""


class Watch:
    """Polls the database once for all watchers.

    Args:
        folder: Folder of the database; a separate connection sees the writes of all others.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = asyncio.Event()
        self._watchers = 0

    def check_room(self) -> None:
        """Refuse another watcher if there are too many.

        Raises:
            RefusalError: If so.
        """
        if self._watchers >= MOST_WATCHERS:
            text = f"expected at most {MOST_WATCHERS} event streams at once, got one more; poll instead"
            raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, text)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count a watcher during the block."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Poll during the block."""
        database = Database(self._folder)
        task = asyncio.create_task(self._look(database))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            database.close()

    @property
    def next_change(self) -> asyncio.Event:
        """Return the event of the next change; obtain it before reading, so that no change is missed."""
        return self._changed

    async def _look(self, database: Database) -> None:
        seen = -1
        while True:
            try:
                version = database.version_of_others()
            except sqlite3.Error:
                version = seen
            if version != seen:
                seen = version
                former, self._changed = self._changed, asyncio.Event()
                former.set()
            await asyncio.sleep(LOOK_SECONDS)


async def until(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; return False after a timeout.

    Args:
        event: The event.
        seconds: Timeout in seconds.
    """
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
