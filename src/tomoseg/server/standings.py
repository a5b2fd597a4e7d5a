"""Where all jobs stand that have not ended: looked up once for all who watch, each time that something has changed."""

from __future__ import annotations

import asyncio

from anyio.to_thread import run_sync

from tomoseg.server.jobs import JobStore, Standing


class Standings:
    """One look for many watchers.

    Args:
        jobs: What is looked at.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._change: asyncio.Event | None = None
        self._look: asyncio.Future[dict[str, Standing]] | None = None

    async def of(self, job: str, change: asyncio.Event) -> Standing | None:
        """Where a job stands; None if it has ended, or was made just now.

        Args:
            job: Its id.
            change: The next one, as the watcher knew it before it asked.
        """
        if self._look is None or self._change is not change:
            self._change, self._look = change, asyncio.ensure_future(run_sync(self._jobs.standings))
        return (await asyncio.shield(self._look)).get(job)
