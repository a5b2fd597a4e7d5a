"""Jobs in the database: made once, claimed by one worker at a time, ended once.

A claim is one statement, and has a name that nobody else knows; whatever a worker says of its job counts only while its
claim is the one that stands. So a job that was given back, cancelled or taken for dead is never ended by two.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tomoseg.server.database import Database
from tomoseg.server.records import ENDS, Job, ListedSeries, Told

LEASE_SECONDS = 60.0
"""A claim whose worker has said nothing for so long is void."""

MOST_ATTEMPTS = 3
"""A job whose workers died so often is not tried again."""

Role = Literal["check", "segment"]
"""What a worker does."""

Standing = tuple[int, int]
"""Of a job that has not ended: its last change, and how many are before it in the queue."""

_FROM_TO = {"check": ("received", "checking"), "segment": ("queued", "running")}
_BACK = "CASE state WHEN 'checking' THEN 'received' ELSE 'queued' END"


def new_id() -> str:
    """An id that cannot be guessed, fit for paths and URLs."""
    return secrets.token_hex(16)


class JobStore:
    """All that is done to jobs.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def make(self, job: str, key: str, model: str, options: Mapping[str, Any], uploads: Sequence[str]) -> str:
        """Make a job, unless there is one of the same key that has not failed, been cancelled or expired.

        Args:
            job: The id that a new one gets.
            key: What tells its result from others.
            model: Name of the model.
            options: The requested options.
            uploads: What it is made of.

        Returns:
            The id of the job: the one given if it is new.
        """
        with self.database.transaction() as connection:
            same = connection.execute(
                "SELECT id FROM jobs WHERE key = ? AND state NOT IN ('failed', 'cancelled', 'expired')", (key,)
            ).fetchone()
            if same is not None:
                return same["id"]
            connection.execute(
                "INSERT INTO jobs (id, key, state, model, options, uploads, created) VALUES (?,?,?,?,?,?,?)",
                (job, key, "received", model, json.dumps(options), json.dumps(list(uploads)), time.time()),
            )
            return job

    def claim(self, role: Role, worker: str = "") -> sqlite3.Row | None:
        """Take the first job that waits for a role; None if none does.

        Args:
            role: What the worker does.
            worker: Its name, with which the claim begins.
        """
        waiting, taken = _FROM_TO[role]
        if self.database.first("SELECT 1 FROM jobs WHERE state = ? LIMIT 1", waiting) is None:
            return None  # a look locks nobody out
        now = time.time()
        return self.database.first(
            f"UPDATE jobs SET state = '{taken}', claim = ?, lease = ?, attempts = attempts + 1, share = 0, "
            "seconds_left = NULL, stage = CASE ? WHEN 'segment' THEN 'load' END, started = ? WHERE number = "
            f"(SELECT number FROM jobs WHERE state = '{waiting}' ORDER BY number LIMIT 1) AND state = '{waiting}' "
            "RETURNING *",
            *(f"{worker}-{new_id()}", now + LEASE_SECONDS, role, now),
        )

    def next_queued(self) -> sqlite3.Row | None:
        """The job that is claimed next to be segmented; None if none waits."""
        return self.database.first("SELECT * FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1")

    def claimed_by(self, worker: str) -> list[sqlite3.Row]:
        """The jobs that a worker has: one, or one that is written beside the next.

        Args:
            worker: Name of the worker.
        """
        return self.database.all("SELECT * FROM jobs WHERE claim LIKE ? || '-%' ORDER BY number", worker)

    def keep(self, claim: str) -> bool:
        """Say that a worker lives; False if its claim does not stand any more.

        Args:
            claim: Its claim.
        """
        lease = time.time() + LEASE_SECONDS
        return self.database.change("UPDATE jobs SET lease = ? WHERE claim = ?", lease, claim) == 1

    def progress(self, claim: str, stage: str, share: float, seconds_left: float | None) -> bool:
        """Say how far a job is; False if the claim does not stand any more, so that the worker stops.

        Args:
            claim: The worker's.
            stage: Of `records.Stage`.
            share: 0 to 1.
            seconds_left: If it can be said.
        """
        return (
            self.database.change(
                "UPDATE jobs SET stage = ?, share = ?, seconds_left = ?, lease = ? WHERE claim = ?",
                *(stage, share, seconds_left, time.time() + LEASE_SECONDS, claim),
            )
            == 1
        )

    def checked(self, claim: str) -> bool:
        """Put a job that was checked into the queue.

        Args:
            claim: The worker's.
        """
        return (
            self.database.change(f"UPDATE jobs SET state = 'queued', attempts = 0, {_UNCLAIMED} WHERE claim = ?", claim)
            == 1
        )

    def done(self, claim: str, result: str, size: int, warnings: Sequence[Told]) -> bool:
        """End a job; False if the claim does not stand any more, and the result counts for nothing.

        Args:
            claim: The worker's.
            result: The folder of its files, within the job's.
            size: Bytes of these.
            warnings: What was noticed.
        """
        said = json.dumps([one.model_dump() for one in warnings])
        return (
            self.database.change(
                "UPDATE jobs SET state = 'done', finished = ?, result = ?, bytes = ?, warnings = ?, "
                f"{_UNCLAIMED} WHERE claim = ?",
                *(time.time(), result, size, said, claim),
            )
            == 1
        )

    def corrected(self, job: str, versions: int, size: int) -> bool:
        """Say how many corrections there are of a job that is done; False if it is so no more.

        Args:
            job: Its id.
            versions: How many.
            size: Bytes of its result and of them.
        """
        statement = "UPDATE jobs SET corrections = ?, bytes = ? WHERE id = ? AND state = 'done'"
        return self.database.change(statement, versions, size, job) == 1

    def failed(
        self,
        claim: str,
        reason: str,
        advice: str | None = None,
        choices: Sequence[ListedSeries] = (),
        warnings: Sequence[Told] = (),
    ) -> bool:
        """End a job for a reason; False if the claim does not stand any more.

        Args:
            claim: The worker's.
            reason: One sentence.
            advice: What to do about it.
            choices: Which scans there are to choose from.
            warnings: What was noticed.
        """
        return (
            self.database.change(
                "UPDATE jobs SET state = 'failed', finished = ?, reason = ?, advice = ?, choices = ?, warnings = ?, "
                f"{_UNCLAIMED} WHERE claim = ?",
                *(time.time(), reason, advice or advice_in(reason)),
                *(json.dumps([one.model_dump() for one in some]) for some in (choices, warnings)),
                claim,
            )
            == 1
        )

    def give_back(self, claim: str, *, is_counted: bool) -> None:
        """Let another worker have a job whose worker ended; one that has cost too many workers fails.

        Args:
            claim: Of the worker that ended.
            is_counted: Whether the job may be why it ended.
        """
        if is_counted:
            self.database.change(
                "UPDATE jobs SET state = 'failed', finished = ?, reason = ?, advice = ?, "
                f"{_UNCLAIMED} WHERE claim = ? AND attempts >= ?",
                *(time.time(), _DIED, advice_in(_DIED), claim, MOST_ATTEMPTS),
            )
        less = "" if is_counted else "attempts = attempts - 1, "
        self.database.change(f"UPDATE jobs SET {less}state = {_BACK}, {_UNCLAIMED} WHERE claim = ?", claim)

    def give_back_all(self) -> None:
        """Before the first worker starts: whatever was claimed is so no more."""
        self.database.change(
            f"UPDATE jobs SET attempts = max(attempts - 1, 0), state = {_BACK}, {_UNCLAIMED} "
            "WHERE state IN ('checking', 'running')"
        )

    def give_back_late(self) -> None:
        """Let others have the jobs of workers that have said nothing for long."""
        late = "SELECT claim FROM jobs WHERE state IN ('checking', 'running') AND lease < ?"
        for row in self.database.all(late, time.time()):
            self.give_back(row["claim"], is_counted=True)

    def cancel(self, job: str) -> bool:
        """Cancel a job; False if it has ended already, or there is none.

        Args:
            job: Its id.
        """
        return (
            self.database.change(
                f"UPDATE jobs SET state = 'cancelled', finished = ?, {_UNCLAIMED} "
                "WHERE id = ? AND state IN ('received', 'checking', 'queued', 'running')",
                *(time.time(), job),
            )
            == 1
        )

    def remove(self, job: str) -> list[str] | None:
        """Forget a job at once; returns the uploads that it was made of, None if there is no such job.

        Args:
            job: Its id.
        """
        row = self.database.first("DELETE FROM jobs WHERE id = ? RETURNING uploads", job)
        return None if row is None else json.loads(row["uploads"])

    def expire(self, before: float) -> None:
        """Say of jobs that ended long ago that their files are gone; the files are removed by who asks.

        Args:
            before: Jobs that ended earlier.
        """
        ended = "state IN ('done', 'failed', 'cancelled')"
        self.database.change(
            f"UPDATE jobs SET state = 'expired', bytes = 0, view = NULL WHERE finished < ? AND {ended}", before
        )

    def forget(self, before: float) -> None:
        """Forget expired jobs.

        Args:
            before: Those that ended earlier.
        """
        self.database.change("DELETE FROM jobs WHERE state = 'expired' AND finished < ?", before)

    def get(self, job: str, keep_seconds: float) -> Job | None:
        """A job as it is sent; None if there is none.

        Args:
            job: Its id.
            keep_seconds: How long files are kept.
        """
        row = self.row(job)
        return None if row is None else self.shown(row, keep_seconds)

    def row(self, job: str) -> sqlite3.Row | None:
        """A job as it is stored; None if there is none.

        Args:
            job: Its id.
        """
        return self.database.first("SELECT * FROM jobs WHERE id = ?", job)

    def shown(self, row: sqlite3.Row, keep_seconds: float) -> Job:
        """A job as it is sent.

        Args:
            row: As it is stored.
            keep_seconds: How long files are kept.
        """
        is_running = row["state"] == "running"
        position = None
        if row["state"] == "queued":
            before = self.database.first(
                "SELECT count(*) AS jobs FROM jobs WHERE state IN ('queued', 'running') AND number < ?", row["number"]
            )
            position = 0 if before is None else before["jobs"]
        has_files = row["state"] in ENDS - {"expired"}
        return Job(
            **{name: row[name] for name in ("id", "number", "state", "model", "created", "started", "finished")},
            **{name: json.loads(row[name]) for name in ("options", "uploads", "choices", "warnings")},
            **{name: row[name] if is_running else None for name in ("stage", "share", "seconds_left")},
            position=position,
            expires=row["finished"] + keep_seconds if has_files else None,
            reason=row["reason"],
            advice=row["advice"],
            corrections=row["corrections"],
        )

    def standings(self) -> dict[str, Standing]:
        """Where each job stands that has not ended, by id; of two that are equal nothing else differs."""
        found, before = {}, 0
        for row in self.database.all(
            "SELECT id, state, change FROM jobs WHERE state IN ('received', 'checking', 'queued', 'running') "
            "ORDER BY number"
        ):
            found[row["id"]] = (row["change"], before if row["state"] == "queued" else 0)
            before += row["state"] in {"queued", "running"}
        return found

    def newest(self, limit: int, before: int | None) -> list[sqlite3.Row]:
        """Jobs, the newest first.

        Args:
            limit: So many at most.
            before: Only those of a smaller number.
        """
        largest = 2**62 if before is None else before
        return self.database.all("SELECT * FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?", largest, limit)

    def changed_since(self, change: int) -> list[sqlite3.Row]:
        """Jobs that have changed, in the order in which they last did.

        Args:
            change: What the watcher saw last.
        """
        return self.database.all("SELECT * FROM jobs WHERE change > ? ORDER BY change LIMIT 1000", change)


_UNCLAIMED = "claim = NULL, lease = NULL, stage = NULL, share = NULL, seconds_left = NULL"

_DIED = (
    f"expected to come to an end, got the worker killed {MOST_ATTEMPTS} times, most likely for want of memory; send a "
    "smaller scan, ask for fewer structures, or raise what the machine has"
)


def unforeseen(kind: str) -> str:
    """Why a job failed that nobody foresaw: without what the error says, in which a name or a header may be quoted.

    Args:
        kind: The kind of the error.

    Example:
        >>> unforeseen("ValueError").split(";")[0]
        'expected no such error, got ValueError'
    """
    return f"expected no such error, got {kind}; run `tomoseg predict` on the scan and report what it says"


def advice_in(reason: str) -> str | None:
    """What a sentence of ours says is to be done: what stands after its last semicolon.

    Args:
        reason: Such as "expected ..., got ...; do ...".

    Example:
        >>> advice_in("expected a scan, got a text; send a scan")
        'send a scan'
    """
    _, joint, advice = reason.rpartition("; ")
    return advice if joint else None
