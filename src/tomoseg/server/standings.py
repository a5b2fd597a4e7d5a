"""Standings of jobs that have not ended, queried once per change for all watchers."""

from __future__ import annotations

import asyncio

from anyio.to_thread import run_sync

from tomoseg.server.jobs import JobStore, Standing


class Standings:
    """Shares one query among many watchers.

    Args:
        jobs: The store of jobs.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._change: asyncio.Event | None = None
        self._look: asyncio.Future[dict[str, Standing]] | None = None

    async def of(self, job: str, change: asyncio.Event) -> Standing | None:
        """Return the standing of a job; None if it has ended, or was created just now.

        Args:
            job: Id of the job.
            change: The event of the next change, obtained before this call.
        """
        if self._look is None or self._change is not change:
            self._change, self._look = change, asyncio.ensure_future(run_sync(self._jobs.standings))
        return (await asyncio.shield(self._look)).get(job)
