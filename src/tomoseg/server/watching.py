"""Who waits for a job to change is woken when the database does, and by nothing else."""

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
"""Streams of events at once."""


class Watch:
    """One look at the database for all who wait.

    Args:
        folder: The folder of the database; a connection of its own sees what all others write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = asyncio.Event()
        self._watchers = 0

    def check_room(self) -> None:
        """Refuse one more who watches.

        Raises:
            RefusalError: If there are too many.
        """
        if self._watchers >= MOST_WATCHERS:
            text = f"expected at most {MOST_WATCHERS} streams of events at once, got one more; ask now and then"
            raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, text)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count one who watches while the block runs."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look while the block runs."""
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
        """Set once something is written; asked for before one looks, so that nothing is missed in between."""
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
    """Wait for an event; False if it was not there for so long.

    Args:
        event: To wait for.
        seconds: At most.
    """
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
