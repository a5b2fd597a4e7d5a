"""What a page shows of a job: made by a worker when it is first asked for, kept beside the result.

It is what `tomoseg view` sends of a case (`scene_answers`), as files: `case.json`, `hu` and `cells`.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Literal

from tomoseg.server.database import Database
from tomoseg.server.jobs import LEASE_SECONDS, new_id

ASKED, MAKING, READY, FAILED = "asked", "making", "ready", "failed"

Part = Literal["case.json", "hu", "cells"]
"""The files."""


class ViewStore:
    """Which views are asked for, made, and ready.

    Args:
        database: Where jobs are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def ask(self, job: str) -> None:
        """Ask for a view, unless it was asked for.

        Args:
            job: The id of a job that is done.
        """
        self.database.change("UPDATE jobs SET view = ? WHERE id = ? AND view IS NULL AND state = 'done'", ASKED, job)

    def renew(self, job: str) -> None:
        """Ask for a view that was made before something changed; one that is being made counts for nothing.

        Args:
            job: The id of a job that is done.
        """
        self.database.change("UPDATE jobs SET view = ? WHERE id = ? AND state = 'done'", ASKED, job)

    def claim(self, worker: str) -> sqlite3.Row | None:
        """Take the first view that is asked for; None if none is.

        Args:
            worker: The name of who makes it.
        """
        if self.database.first("SELECT 1 FROM jobs WHERE view = ? LIMIT 1", ASKED) is None:
            return None
        return self.database.first(
            "UPDATE jobs SET view = ?, view_claim = ?, view_lease = ? WHERE number = "
            "(SELECT number FROM jobs WHERE view = ? ORDER BY number LIMIT 1) AND view = ? RETURNING *",
            *(MAKING, f"{worker}-{new_id()}", time.time() + LEASE_SECONDS, ASKED, ASKED),
        )

    def end(self, claim: str, state: Literal["ready", "failed"]) -> bool:
        """Say what became of a view; False if nobody waits for it any more.

        Args:
            claim: Of who made it.
            state: What became of it.
        """
        return (
            self.database.change("UPDATE jobs SET view = ? WHERE view_claim = ? AND view = 'making'", state, claim) == 1
        )

    def drop(self, worker: str) -> None:
        """Say of what a worker was making when it died that it failed.

        Args:
            worker: Its name; of all workers if empty.
        """
        self.database.change(
            "UPDATE jobs SET view = ? WHERE view = ? AND view_claim LIKE ? || '%'", *(FAILED, MAKING, worker)
        )
