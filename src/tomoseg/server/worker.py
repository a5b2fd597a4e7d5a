"""A process that looks at uploads, or segments them with models that it keeps loaded, one job after the other.

It ends when the server does, when its job is taken from it and it does not stop by itself, or when it crashes; none of
these ends more than that job.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tomoseg.errors import TomosegError
from tomoseg.limits import refusal
from tomoseg.options import Compute, PredictOptions
from tomoseg.server.database import Database
from tomoseg.server.jobs import JobStore, Role
from tomoseg.server.shown import ViewStore
from tomoseg.server.uploads import Rules, UploadStore, uploads_of

IDLE_SECONDS = 0.1
"""Between looks for a job."""

BEAT_SECONDS = 1.0
"""Between looks whether the job is still ours."""

BEATS_A_LEASE = 10
GRACE_BEATS = 4
"""So many beats after a job was taken away the process ends, if it still works at it."""

TOLD_SECONDS = 0.25
"""Between words of progress."""

UPLOADS, JOBS = "uploads", "jobs"
"""Folders within the server's."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is started with, as JSON on its command line.

    Attributes:
        folder: The server's.
        name: The worker's own, which its claims begin with.
        role: What it does.
        models: Folders of the models, by name.
        compute: Settings that were chosen.
    """

    folder: str
    name: str
    role: Role
    models: dict[str, str] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)


class TakenError(BaseException):
    """The job is not ours any more: cancelled, or given to another. An `Exception` would be taken for a fault."""


class Worker:
    """Claims and does jobs.

    Args:
        settings: What it is started with.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.folder = Path(settings.folder)
        self.database = Database(self.folder)
        self.jobs = JobStore(self.database)
        self.uploads = UploadStore(self.database, self.folder / UPLOADS, Rules())
        self.views = ViewStore(self.database)
        self._claim: str | None = None
        self._models: Any = None

    def run(self) -> NoReturn:
        """Do jobs until the process is ended."""
        threading.Thread(target=self._beat, daemon=True).start()
        self._warm_up()
        while True:
            if not self.do_one():
                time.sleep(IDLE_SECONDS)

    def _warm_up(self) -> None:
        """Load what takes seconds before the first job waits for it; what cannot be loaded fails that job."""
        if self.settings.role == "check":
            importlib.import_module("tomoseg.server.looking")
            importlib.import_module("tomoseg.files.dicom.read")
            return
        segmenting = importlib.import_module("tomoseg.server.segmenting")
        folders = {name: Path(folder) for name, folder in self.settings.models.items()}
        self._models = segmenting.Models(folders, Compute(**self.settings.compute))
        with suppress(TomosegError):
            self._models[next(iter(folders))].engines()

    def do_one(self) -> bool:
        """Do the first job that waits; False if none does."""
        row = self.jobs.claim(self.settings.role, self.settings.name)
        if row is None:
            return self.settings.role == "check" and self._show()
        with self._ours(row["claim"]):
            (self._look if self.settings.role == "check" else self._segment)(row)
        return True

    @contextmanager
    def _ours(self, claim: str) -> Iterator[None]:
        """Whatever the block raises is the end of this job and of no other."""
        self._claim = claim
        try:
            yield
        except TakenError:
            pass
        except TomosegError as error:
            self.jobs.failed(claim, str(error), choices=getattr(error, "choices", ()))
        except Exception as error:
            self.jobs.failed(claim, refusal(error) or _unforeseen(error))
        finally:
            self._claim = None

    def _scan(self, row: sqlite3.Row) -> Path:
        return self.uploads.scan_of(uploads_of(row), self.folder / JOBS / row["id"] / "input")

    def _look(self, row: sqlite3.Row) -> None:
        from tomoseg.server.looking import look_at
        from tomoseg.server.segmenting import without_place

        scan = self._scan(row)
        try:
            look_at(scan, _options(row))
        except TomosegError as error:
            self.jobs.failed(row["claim"], without_place(str(error), scan), choices=getattr(error, "choices", ()))
            return
        self.jobs.checked(row["claim"])

    def _show(self) -> bool:
        """Make what a page shows of a job, if one is asked for; False if none is."""
        row = self.views.claim(self.settings.name)
        if row is None:
            return False
        job = self.folder / JOBS / row["id"]
        try:
            showing = importlib.import_module("tomoseg.server.showing")
            showing.write_view(self._scan(row), job / row["result"], _options(row), job / row["view_claim"])
            self.views.end(row["view_claim"], "ready")
        except Exception:  # the result itself is there; what cannot be shown is not shown
            self.views.end(row["view_claim"], "failed")
        return True

    def _segment(self, row: sqlite3.Row) -> None:
        from tomoseg.server.segmenting import segment_upload, told, without_place

        claim, scan = row["claim"], self._scan(row)
        folder = self.folder / JOBS / row["id"] / claim
        folder.mkdir(parents=True)
        try:
            done = segment_upload(scan, folder, self._models[row["model"]], _options(row), _Teller(self.jobs, claim))
            noticed = told(done.warnings, scan)
            if done.error is not None:
                self.jobs.failed(claim, without_place(done.error, scan), warnings=noticed)
                return
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            if self.jobs.done(claim, claim, size, noticed):
                folder = Path()
        finally:
            if folder != Path():
                shutil.rmtree(folder, ignore_errors=True)

    def _beat(self) -> None:
        """Keep the lease; end the process if a job that is not ours any more goes on."""
        lost = beats = 0
        while True:
            time.sleep(BEAT_SECONDS)
            beats += 1
            claim = self._claim
            if claim is None:
                lost = 0
                continue
            try:
                standing = self.database.first("SELECT 1 FROM jobs WHERE claim = ?", claim) is not None
                if standing and beats % BEATS_A_LEASE == 0:
                    self.jobs.keep(claim)
            except sqlite3.OperationalError:  # the disk is full, or another writes for long
                continue
            lost = 0 if standing or claim != self._claim else lost + 1
            if lost >= GRACE_BEATS:
                os._exit(1)


class _Teller:
    """Says how far a job is, not too often.

    Args:
        jobs: Where.
        claim: The worker's.
    """

    def __init__(self, jobs: JobStore, claim: str) -> None:
        self._jobs, self._claim = jobs, claim
        self._stage, self._told = "", 0.0

    def __call__(self, stage: str, share: float, seconds_left: float | None) -> None:
        """Tell.

        Raises:
            TakenError: If the job is not ours any more.
        """
        now = time.monotonic()
        if stage == self._stage and now - self._told < TOLD_SECONDS:
            return
        self._stage, self._told = stage, now
        if not self._jobs.progress(self._claim, stage, share, seconds_left):
            raise TakenError


def _options(row: sqlite3.Row) -> PredictOptions:
    return PredictOptions(**json.loads(row["options"]))


def _unforeseen(error: Exception) -> str:
    """Without what the error says, in which a file's name or a header may be quoted."""
    return (
        f"expected no such error, got {type(error).__name__}; run `tomoseg predict` on the scan and report what it says"
    )


def _end_with_the_server() -> None:
    """The server holds the other end of our standard input, which closes whatever ends it."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main(argv: list[str]) -> NoReturn:
    """Run a worker.

    Args:
        argv: Its settings as JSON.
    """
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    Worker(WorkerSettings(**json.loads(argv[0]))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
