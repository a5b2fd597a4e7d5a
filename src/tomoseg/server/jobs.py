"""Jobs in the database: created once, claimed by one worker at a time, ended once.

A claim is a single statement with a unique, secret name; a worker's updates count only while its claim is the present
one. So a job that was given back, cancelled or considered lost is never ended twice.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tomoseg.language.sentences import sentence
from tomoseg.server.database import Database
from tomoseg.server.records import ENDS, Job, ListedSeries, Told

LEASE_SECONDS = 60.0
"""Seconds without a sign of life of its worker after which a claim is void."""

MOST_ATTEMPTS = 3
"""Number of workers that may die with a job before it fails."""

Role = Literal["check", "segment"]
"""Role of a worker."""

Standing = tuple[int, int]
"""Last change of a job that has not ended, and the number of jobs before it in the queue."""

_FROM_TO = {"check": ("received", "checking"), "segment": ("queued", "running")}
_BACK = "CASE state WHEN 'checking' THEN 'received' ELSE 'queued' END"


def new_id() -> str:
    """Create an unguessable id, safe in paths and URLs."""
    return secrets.token_hex(16)


class JobStore:
    """Operations on jobs.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def make(self, job: str, key: str, model: str, options: Mapping[str, Any], uploads: Sequence[str]) -> str:
        """Create a job, unless one with the same key has not failed, been cancelled or expired.

        Args:
            job: Id of a new job.
            key: Digest of everything that determines the result.
            model: Name of the model.
            options: The requested options.
            uploads: Ids of its uploads.

        Returns:
            The id of the job, `job` if it is new.
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
        """Claim the first job that waits for a role; None if none does.

        Args:
            role: Role of the worker.
            worker: Name of the worker, the prefix of the claim.
        """
        waiting, taken = _FROM_TO[role]
        if self.database.first("SELECT 1 FROM jobs WHERE state = ? LIMIT 1", waiting) is None:
            return None  # reading takes no lock
        now = time.time()
        return self.database.first(
            f"UPDATE jobs SET state = '{taken}', claim = ?, lease = ?, attempts = attempts + 1, share = 0, "
            "seconds_left = NULL, stage = CASE ? WHEN 'segment' THEN 'load' END, started = ? WHERE number = "
            f"(SELECT number FROM jobs WHERE state = '{waiting}' ORDER BY number LIMIT 1) AND state = '{waiting}' "
            "RETURNING *",
            *(f"{worker}-{new_id()}", now + LEASE_SECONDS, role, now),
        )

    def next_queued(self) -> sqlite3.Row | None:
        """Return the next job to be segmented; None if none waits."""
        return self.database.first("SELECT * FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1")

    def claimed_by(self, worker: str) -> list[sqlite3.Row]:
        """Return the jobs that a worker has claimed: one, or also one being written.

        Args:
            worker: Name of the worker.
        """
        return self.database.all("SELECT * FROM jobs WHERE claim LIKE ? || '-%' ORDER BY number", worker)

    def keep(self, claim: str) -> bool:
        """Renew a worker's claim; return False if it is void.

        Args:
            claim: The worker's claim.
        """
        lease = time.time() + LEASE_SECONDS
        return self.database.change("UPDATE jobs SET lease = ? WHERE claim = ?", lease, claim) == 1

    def progress(self, claim: str, stage: str, share: float, seconds_left: float | None) -> bool:
        """Store the progress of a job; return False if the claim is void, so that the worker stops.

        Args:
            claim: The worker's claim.
            stage: One of `records.Stage`.
            share: Progress, 0 to 1.
            seconds_left: Estimate, if there is one.
        """
        return (
            self.database.change(
                "UPDATE jobs SET stage = ?, share = ?, seconds_left = ?, lease = ? WHERE claim = ?",
                *(stage, share, seconds_left, time.time() + LEASE_SECONDS, claim),
            )
            == 1
        )

    def checked(self, claim: str) -> bool:
        """Put a checked job into the queue.

        Args:
            claim: The worker's claim.
        """
        return (
            self.database.change(f"UPDATE jobs SET state = 'queued', attempts = 0, {_UNCLAIMED} WHERE claim = ?", claim)
            == 1
        )

    def done(self, claim: str, result: str, size: int, warnings: Sequence[Told]) -> bool:
        """Complete a job; return False if the claim is void, and the result to be discarded.

        Args:
            claim: The worker's claim.
            result: Folder of its files, in the job's folder.
            size: Size of the files in bytes.
            warnings: Warnings about the scan and the result.
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
        """Store the number of corrections of a completed job; return False if it has expired or was removed.

        Args:
            job: Id of the job.
            versions: Number of corrections.
            size: Size of result and corrections in bytes.
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
        """Fail a job for a reason; return False if the claim is void.

        Args:
            claim: The worker's claim.
            reason: Reason in one sentence.
            advice: What to do about it.
            choices: Scans to choose from, if the upload has several.
            warnings: Warnings about the scan.
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
        """Give a job back after its worker ended; it fails after too many attempts.

        Args:
            claim: Claim of the worker that ended.
            is_counted: Whether the job may be the cause.
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
        """Void all claims, before the first worker starts."""
        self.database.change(
            f"UPDATE jobs SET attempts = max(attempts - 1, 0), state = {_BACK}, {_UNCLAIMED} "
            "WHERE state IN ('checking', 'running')"
        )

    def give_back_late(self) -> None:
        """Give back the jobs of workers without a sign of life for `LEASE_SECONDS`."""
        late = "SELECT claim FROM jobs WHERE state IN ('checking', 'running') AND lease < ?"
        for row in self.database.all(late, time.time()):
            self.give_back(row["claim"], is_counted=True)

    def cancel(self, job: str) -> bool:
        """Cancel a job; return False if it has ended, or there is none.

        Args:
            job: Id of the job.
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
        """Delete a job, and return the ids of its uploads; None if there is no such job.

        Args:
            job: Id of the job.
        """
        row = self.database.first("DELETE FROM jobs WHERE id = ? RETURNING uploads", job)
        return None if row is None else json.loads(row["uploads"])

    def expire(self, before: float) -> None:
        """Mark jobs that ended long ago as expired; the caller removes their files.

        Args:
            before: Time before which they ended.
        """
        ended = "state IN ('done', 'failed', 'cancelled')"
        self.database.change(
            f"UPDATE jobs SET state = 'expired', bytes = 0, view = NULL WHERE finished < ? AND {ended}", before
        )

    def forget(self, before: float) -> None:
        """Delete expired jobs.

        Args:
            before: Time before which they ended.
        """
        self.database.change("DELETE FROM jobs WHERE state = 'expired' AND finished < ?", before)

    def get(self, job: str, keep_seconds: float) -> Job | None:
        """Return a job as it is sent; None if there is none.

        Args:
            job: Id of the job.
            keep_seconds: How long files are kept.
        """
        row = self.row(job)
        return None if row is None else self.shown(row, keep_seconds)

    def row(self, job: str) -> sqlite3.Row | None:
        """Return a job's row; None if there is none.

        Args:
            job: Id of the job.
        """
        return self.database.first("SELECT * FROM jobs WHERE id = ?", job)

    def shown(self, row: sqlite3.Row, keep_seconds: float) -> Job:
        """Return a job as it is sent.

        Args:
            row: The job's row.
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
            reason_fr=None if row["reason"] is None else sentence(row["reason"], "fr"),
            advice=row["advice"],
            corrections=row["corrections"],
        )

    def standings(self) -> dict[str, Standing]:
        """Return the standing of each job that has not ended, by id; a job is unchanged if its standing is."""
        found, before = {}, 0
        for row in self.database.all(
            "SELECT id, state, change FROM jobs WHERE state IN ('received', 'checking', 'queued', 'running') "
            "ORDER BY number"
        ):
            found[row["id"]] = (row["change"], before if row["state"] == "queued" else 0)
            before += row["state"] in {"queued", "running"}
        return found

    def newest(self, limit: int, before: int | None) -> list[sqlite3.Row]:
        """Return jobs, the newest first.

        Args:
            limit: Largest number of jobs.
            before: Only jobs with a smaller number.
        """
        largest = 2**62 if before is None else before
        return self.database.all("SELECT * FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?", largest, limit)

    def changed_since(self, change: int) -> list[sqlite3.Row]:
        """Return jobs that have changed, in the order of their last change.

        Args:
            change: The last change that the watcher has seen.
        """
        return self.database.all("SELECT * FROM jobs WHERE change > ? ORDER BY change LIMIT 1000", change)


_UNCLAIMED = "claim = NULL, lease = NULL, stage = NULL, share = NULL, seconds_left = NULL"

_DIED = (
    f"expected the job to finish, got its worker killed {MOST_ATTEMPTS} times, most likely for lack of memory; send a "
    "smaller scan, ask for fewer structures, or use a machine with more memory"
)


def unforeseen(kind: str) -> str:
    """Return the reason for an unexpected error, without its message, which may quote patient data.

    Args:
        kind: Type of the error.

    Example:
        >>> unforeseen("ValueError").split(";")[0]
        'expected no internal error, got ValueError'
    """
    return f"expected no internal error, got {kind}; run `tomoseg predict` on the scan and report what it says"


def advice_in(reason: str) -> str | None:
    """Return the advice in one of our messages: the text after its last semicolon.

    Args:
        reason: A message such as "expected ..., got ...; do ...".

    Example:
        >>> advice_in("expected a scan, got a text; send a scan")
        'send a scan'
    """
    _, joint, advice = reason.rpartition("; ")
    return advice if joint else None
