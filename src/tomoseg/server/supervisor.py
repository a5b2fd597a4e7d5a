"""Starting, watching and restarting worker processes.

A worker that takes too long or too much memory is killed, and its job fails with the reason; the job of one that dies
by itself is given to another. Expired files are removed here, too.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path

from tomoseg.interrupts import interrupts_blocked
from tomoseg.server.apart import most_memory, resident_bytes
from tomoseg.server.corrections import FOLDER as CORRECTIONS
from tomoseg.server.jobs import MOST_ATTEMPTS, JobStore, new_id
from tomoseg.server.refusals import RefusalError
from tomoseg.server.shown import ViewStore
from tomoseg.server.uploads import Rules, UploadStore
from tomoseg.server.worker import JOBS, WorkerSettings

LOOK_SECONDS = 0.2
SWEEP_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 30.0
"""Longest pause before a worker that dies repeatedly is restarted."""

CHECK_SECONDS = 300.0
"""Time limit for checking an upload."""

FORGET_SECONDS = 30 * 24 * 3600.0
"""Seconds after its files expired until a job is deleted."""


@dataclass
class _Child:
    """A worker's process.

    Attributes:
        settings: Its settings, with a new name at each start.
        process: The process; None while it is not running.
        begun: Time of its start.
        pause: Pause in seconds before its next start.
    """

    settings: WorkerSettings
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0
    pause: float = 0.0


class Supervisor:
    """Watches workers in a thread.

    Args:
        jobs: The store of jobs.
        uploads: The store of uploads.
        rules: Limits of the server.
        workers: Settings of each worker.
        is_loud: Whether the workers' output is shown; it may contain patient data.
    """

    def __init__(
        self, jobs: JobStore, uploads: UploadStore, rules: Rules, workers: list[WorkerSettings], is_loud: bool = False
    ) -> None:
        self._jobs, self._uploads, self._rules = jobs, uploads, rules
        self._children = [_Child(one) for one in workers]
        self._is_loud = is_loud
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._swept = 0.0

    @property
    def alive(self) -> int:
        """Number of running workers."""
        return sum(child.process is not None and child.process.poll() is None for child in self._children)

    def start(self) -> None:
        """Clean up after a killed server, and start the workers."""
        self._jobs.give_back_all()
        ViewStore(self._jobs.database).drop("")
        self._uploads.sweep_strays()
        self._sweep_results()
        self._thread.start()

    def stop(self) -> None:
        """End the workers; their jobs are resumed after the next start."""
        self._end.set()
        self._thread.join()
        for child in self._children:
            _kill(child)
            self._back(child, is_counted=False)

    def _run(self) -> None:
        while not self._end.is_set():
            for child in self._children:
                _quietly(lambda child=child: self._look_after(child))  # type: ignore[misc]
            if time.monotonic() - self._swept > SWEEP_SECONDS:
                self._swept = time.monotonic()
                _quietly(self._sweep)
            self._end.wait(LOOK_SECONDS)

    def _look_after(self, child: _Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.begun + child.pause:
                self._begin(child)
            return
        if child.process.poll() is not None:
            child.pause = self._pause_after(child)
            _kill(child)
            self._back(child, is_counted=True)
            return
        if resident_bytes(child.process.pid) > most_memory(None):  # before the system kills the server instead
            _kill(child)
            self._back(child, is_counted=True)
            return
        for row in self._jobs.claimed_by(child.settings.name):
            reason = self._too_much(child, row)
            if reason is not None:
                self._jobs.failed(row["claim"], reason)
                _kill(child)
                return

    def _pause_after(self, child: _Child) -> float:
        """Return the seconds after which a worker that died is started again.

        They grow as long as it keeps dying; they do not if it was the last attempt at a job, which is set aside.
        """
        attempts = [row["attempts"] for row in self._jobs.claimed_by(child.settings.name)]
        if time.monotonic() - child.begun > LONGEST_PAUSE_SECONDS or max(attempts, default=0) >= MOST_ATTEMPTS:
            return 0.0
        return min(2 * child.pause + 0.5, LONGEST_PAUSE_SECONDS)

    def _begin(self, child: _Child) -> None:
        child.settings = replace(child.settings, name=new_id())
        command = [sys.executable, "-m", "tomoseg.server.worker", json.dumps(asdict(child.settings))]
        out = None if self._is_loud else subprocess.DEVNULL
        with interrupts_blocked():  # its job would be counted as one that kills its worker
            child.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
        child.begun = time.monotonic()

    def _back(self, child: _Child, *, is_counted: bool) -> None:
        ViewStore(self._jobs.database).drop(child.settings.name)
        for row in self._jobs.claimed_by(child.settings.name):
            self._jobs.give_back(row["claim"], is_counted=is_counted)

    def _too_much(self, child: _Child, row: sqlite3.Row) -> str | None:
        """Return why a worker must be killed for one of its jobs; None if it need not."""
        assert child.process is not None
        limit = self._rules.job_memory_bytes
        if limit is not None and resident_bytes(child.process.pid) > limit:
            return (
                f"expected a scan that takes at most {limit / 1e9:.3g} GB of memory, got one that takes more; ask for "
                "fewer structures, send a smaller scan, or start the server with a larger --job-memory"
            )
        longest = CHECK_SECONDS if child.settings.role == "check" else self._rules.job_seconds
        if time.time() - row["started"] > longest:
            return (
                f"expected a scan that takes at most {longest / 60:.3g} min, got one that takes longer; ask for "
                "fewer structures, send a smaller scan, or start the server with a larger --job-minutes"
            )
        return None

    def _sweep(self) -> None:
        """Remove expired files and jobs."""
        self._jobs.give_back_late()
        now = time.time()
        self._jobs.expire(now - self._rules.keep_seconds)
        self._jobs.forget(now - self._rules.keep_seconds - FORGET_SECONDS)
        self._uploads.sweep()
        self._sweep_results()

    def _sweep_results(self) -> None:
        """Remove folders of jobs without files, and remains of dead workers in others."""
        root = self._uploads.folder.parent / JOBS
        root.mkdir(exist_ok=True)
        for folder in root.iterdir():
            row = self._jobs.row(folder.name)
            if row is None or row["state"] == "expired":
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if row["state"] in {"done", "failed", "cancelled"}:
                kept = {row["result"], row["view_claim"], CORRECTIONS} if row["state"] == "done" else set()
                _remove_others(folder, kept)


def _remove_others(folder: Path, kept: set[str | None]) -> None:
    for one in folder.iterdir():
        if one.name not in kept:
            shutil.rmtree(one, ignore_errors=True)


def _kill(child: _Child) -> None:
    if child.process is not None:
        child.process.kill()
        child.process.wait()
        if child.process.stdin is not None:
            child.process.stdin.close()
        child.process = None


def _quietly(do: Callable[[], None]) -> None:
    """Run a task; a full disk, a locked database or a missing file must not end the supervision."""
    try:
        do()
    except (OSError, sqlite3.Error):
        time.sleep(LOOK_SECONDS)


def remove_job(jobs: JobStore, uploads: UploadStore, job: str) -> None:
    """Remove a job with its results, and its scan unless other jobs need it.

    Args:
        jobs: The store of jobs.
        uploads: The store of uploads.
        job: Id of the job.

    Raises:
        RefusalError: If there is none.
    """
    used = jobs.remove(job)
    if used is None:
        raise RefusalError(
            HTTPStatus.NOT_FOUND, "expected the id of a job, got one that does not exist or was removed; check it"
        )
    shutil.rmtree(uploads.folder.parent / JOBS / job, ignore_errors=True)
    for one in used:
        uploads.remove_if_unused(one)
