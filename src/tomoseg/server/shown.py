"""Views of jobs for the page, made by a worker on first request and kept beside the result.

A view is what `tomoseg view` sends of a case (`scene_answers`), as files: `case.json`, `hu` and `cells`.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Literal

from tomoseg.server.database import Database
from tomoseg.server.jobs import LEASE_SECONDS, new_id

ASKED, MAKING, READY, FAILED = "asked", "making", "ready", "failed"

Part = Literal["case.json", "hu", "cells"]
"""Files of a view."""


class ViewStore:
    """States of views: requested, being made, ready.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def ask(self, job: str) -> None:
        """Request a view, unless it was requested before.

        Args:
            job: Id of a completed job.
        """
        self.database.change("UPDATE jobs SET view = ? WHERE id = ? AND view IS NULL AND state = 'done'", ASKED, job)

    def renew(self, job: str) -> None:
        """Request an existing view again after a change; one that is being made is discarded.

        Args:
            job: Id of a completed job.
        """
        self.database.change("UPDATE jobs SET view = ? WHERE id = ? AND state = 'done'", ASKED, job)

    def claim(self, worker: str) -> sqlite3.Row | None:
        """Claim the first requested view; None if there is none.

        Args:
            worker: Name of the worker.
        """
        if self.database.first("SELECT 1 FROM jobs WHERE view = ? LIMIT 1", ASKED) is None:
            return None
        return self.database.first(
            "UPDATE jobs SET view = ?, view_claim = ?, view_lease = ? WHERE number = "
            "(SELECT number FROM jobs WHERE view = ? ORDER BY number LIMIT 1) AND view = ? RETURNING *",
            *(MAKING, f"{worker}-{new_id()}", time.time() + LEASE_SECONDS, ASKED, ASKED),
        )

    def end(self, claim: str, state: Literal["ready", "failed"]) -> bool:
        """Store the outcome of a view; return False if the claim is void.

        Args:
            claim: The worker's claim.
            state: The outcome.
        """
        return (
            self.database.change("UPDATE jobs SET view = ? WHERE view_claim = ? AND view = 'making'", state, claim) == 1
        )

    def drop(self, worker: str) -> None:
        """Mark views as failed that a worker was making when it died.

        Args:
            worker: Name of the worker; if empty, all workers.
        """
        self.database.change(
            "UPDATE jobs SET view = ? WHERE view = ? AND view_claim LIKE ? || '%'", *(FAILED, MAKING, worker)
        )
