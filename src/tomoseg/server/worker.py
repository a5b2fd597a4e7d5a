"""Worker process that checks uploads, or segments them with models that stay loaded, one job after the other.

It ends with the server, when its claim is void and it does not stop by itself, or when it crashes; each of these
affects only the present job.
"""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tomoseg.errors import TomosegError
from tomoseg.limits import refusal, refuse_hopeless_threads
from tomoseg.options import Compute, PredictOptions
from tomoseg.server.database import Database
from tomoseg.server.jobs import JobStore, Role, unforeseen
from tomoseg.server.offers import TRAINED
from tomoseg.server.shown import ViewStore
from tomoseg.server.uploads import Rules, UploadStore, uploads_of

IDLE_SECONDS = 0.1
"""Seconds between checks for a job."""

BEAT_SECONDS = 1.0
"""Seconds between checks whether the claim is still valid."""

BEATS_A_LEASE = 10
GRACE_BEATS = 4
"""Number of beats after which the process ends, if it still works at a job whose claim is void."""

TOLD_SECONDS = 0.25
"""Seconds between reports of progress."""

UPLOADS, JOBS = "uploads", "jobs"
"""Folders in the server's folder."""


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of a worker, passed as JSON on its command line.

    Attributes:
        folder: The server's folder.
        name: Name of the worker, the prefix of its claims.
        role: Role of the worker.
        models: Folders of the models, by name.
        compute: Chosen settings of `Compute`.
        overlaps: Whether the next job is read and the last written while one is segmented.
    """

    folder: str
    name: str
    role: Role
    models: dict[str, str] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)
    overlaps: bool = False


class TakenError(BaseException):
    """The claim is void: the job was cancelled or given to another. An `Exception` would count as a failure."""


class Worker:
    """Claims and does jobs.

    Args:
        settings: Settings of the worker.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.folder = Path(settings.folder)
        self.database = Database(self.folder)
        self.jobs = JobStore(self.database)
        self.uploads = UploadStore(self.database, self.folder / UPLOADS, Rules())
        self.views = ViewStore(self.database)
        self._claims: set[str] = set()
        self._pipeline: Any = None

    def run(self) -> NoReturn:
        """Do jobs until the process ends."""
        threading.Thread(target=self._beat, daemon=True).start()
        self._warm_up()
        while True:
            if not self.do_one():
                time.sleep(IDLE_SECONDS)

    def _warm_up(self) -> None:
        """Load slow imports and models before the first job; a failure to load fails that job later."""
        if self.settings.role == "check":
            importlib.import_module("tomoseg.server.looking")
            importlib.import_module("tomoseg.files.dicom.read")
            return
        segmenting = importlib.import_module("tomoseg.server.segmenting")
        folders = {name: Path(folder) for name, folder in self.settings.models.items()}
        compute = Compute(**self.settings.compute)
        models = segmenting.Models(folders, compute, self.folder / TRAINED)
        overlaps = self.settings.overlaps and compute.max_memory is None
        pipeline = importlib.import_module("tomoseg.server.pipeline")
        self._pipeline = pipeline.Pipeline(self.jobs, self.folder / JOBS, models, self._scan, self._guarded, overlaps)
        with suppress(TomosegError):
            models[next(iter(folders))].engines()

    def do_one(self) -> bool:
        """Do the first waiting job; return False if there is none."""
        row = self.jobs.claim(self.settings.role, self.settings.name)
        if row is None:
            return self.settings.role == "check" and self._show()
        self._claims.add(row["claim"])
        if self.settings.role == "check":
            self._guarded(row["claim"], lambda: self._look(row))
        else:
            self._pipeline.do(row, _Teller(self.jobs, row["claim"]))
        return True

    def _guarded(self, claim: str, do: Callable[[], bool]) -> None:
        """Run work for a claim; an exception ends only its job. Work returns whether more follows."""
        goes_on = False
        try:
            goes_on = do()
        except TakenError:
            pass
        except TomosegError as error:
            self.jobs.failed(claim, str(error), choices=getattr(error, "choices", ()))
        except Exception as error:
            self.jobs.failed(claim, refusal(error) or unforeseen(type(error).__name__))
        finally:
            if not goes_on:
                self._claims.discard(claim)

    def _scan(self, row: sqlite3.Row) -> Path:
        return self.uploads.scan_of(uploads_of(row), self.folder / JOBS / row["id"] / "input")

    def _look(self, row: sqlite3.Row) -> bool:
        from tomoseg.server.looking import look_at
        from tomoseg.server.segmenting import without_place

        scan = self._scan(row)
        try:
            look_at(scan, _options(row))
        except TomosegError as error:
            self.jobs.failed(row["claim"], without_place(str(error), scan), choices=getattr(error, "choices", ()))
            return False
        self.jobs.checked(row["claim"])
        return False

    def _show(self) -> bool:
        """Make a requested view; return False if there is none."""
        row = self.views.claim(self.settings.name)
        if row is None:
            return False
        job = self.folder / JOBS / row["id"]
        try:
            showing = importlib.import_module("tomoseg.server.showing")
            showing.write_view(self._scan(row), job / row["result"], _options(row), job / row["view_claim"])
            self.views.end(row["view_claim"], "ready")
        except Exception:  # the result itself is unaffected
            self.views.end(row["view_claim"], "failed")
        return True

    def _beat(self) -> None:
        """Renew the claims; end the process if it still works at a job whose claim is void."""
        lost: dict[str, int] = {}
        beats = 0
        while True:
            time.sleep(BEAT_SECONDS)
            beats += 1
            with suppress(sqlite3.OperationalError):  # a full disk or a long write
                standing = {claim: self._stands(claim, beats % BEATS_A_LEASE == 0) for claim in tuple(self._claims)}
                lost = {claim: 0 if stands else lost.get(claim, 0) + 1 for claim, stands in standing.items()}
            if max(lost.values(), default=0) >= GRACE_BEATS:
                os._exit(1)

    def _stands(self, claim: str, is_kept: bool) -> bool:
        """Return True if a claim is valid, and renew it if `is_kept`."""
        if is_kept:
            return self.jobs.keep(claim)
        return self.database.first("SELECT 1 FROM jobs WHERE claim = ?", claim) is not None


class _Teller:
    """Stores the progress of a job, at limited intervals.

    Args:
        jobs: The store of jobs.
        claim: The worker's claim.
    """

    def __init__(self, jobs: JobStore, claim: str) -> None:
        self._jobs, self._claim = jobs, claim
        self._stage, self._told = "", 0.0

    def __call__(self, stage: str, share: float, seconds_left: float | None) -> None:
        """Store the progress.

        Raises:
            TakenError: If the claim is void.
        """
        now = time.monotonic()
        if stage == self._stage and now - self._told < TOLD_SECONDS:
            return
        self._stage, self._told = stage, now
        if not self._jobs.progress(self._claim, stage, share, seconds_left):
            raise TakenError


def _options(row: sqlite3.Row) -> PredictOptions:
    return PredictOptions(**json.loads(row["options"]))


def end_with_the_server() -> None:
    """End this process with the server, which holds the other end of standard input."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main(argv: list[str]) -> NoReturn:
    """Run a worker.

    Args:
        argv: Its settings as JSON.
    """
    refuse_hopeless_threads()
    threading.Thread(target=end_with_the_server, daemon=True).start()
    Worker(WorkerSettings(**json.loads(argv[0]))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
