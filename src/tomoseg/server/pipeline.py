"""Segmenting one job while the next is read and the last is written, as `tomoseg predict` does with many scans.

The next job is read before it is claimed: it stays queued, may be cancelled, and reports no progress. A job during
which a worker died runs alone, so that no other is affected.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tomoseg.options import PredictOptions
from tomoseg.server.jobs import JobStore, new_id
from tomoseg.server.segmenting import Models, Tell, UploadOnItsWay, reason_of, told

Guarded = Callable[[str, Callable[[], bool]], None]
"""Takes a claim and its work, which returns whether more follows; an exception in it ends only that job."""


@dataclass
class _Ahead:
    """A job that has been read, or is being read.

    Attributes:
        job: Its id.
        folder: The folder of its result.
        way: Path of its scan, and its processing, once it is read.
    """

    job: str
    folder: Path
    way: Future[tuple[Path, UploadOnItsWay]]

    def drop(self) -> None:
        """Discard it with its files."""
        self.way.exception()
        _remove(self.folder)


class Pipeline:
    """Segments the jobs of one worker.

    Args:
        jobs: The store of jobs.
        folder: The folder of their results.
        models: The models, loaded on first use.
        scan_of: Returns the path of a job's scan.
        guarded: Runs work whose failure ends only its job.
        overlaps: Whether to read and write other jobs during segmentation; off if memory is limited.
    """

    def __init__(
        self,
        jobs: JobStore,
        folder: Path,
        models: Models,
        scan_of: Callable[[sqlite3.Row], Path],
        guarded: Guarded,
        overlaps: bool,
    ) -> None:
        self._jobs, self._folder, self._models = jobs, folder, models
        self._scan_of, self._guarded, self._overlaps = scan_of, guarded, overlaps
        self._reader = ThreadPoolExecutor(1, "tomoseg-read")
        self._writer = ThreadPoolExecutor(1, "tomoseg-write")
        self._ahead: _Ahead | None = None
        self._writing: Future[None] | None = None

    def do(self, row: sqlite3.Row, tell: Tell) -> None:
        """Segment a claimed job; its result may be written after this returns.

        Args:
            row: The job's row.
            tell: Called with progress.
        """
        claim = row["claim"]
        overlaps = self._overlaps and row["attempts"] == 1
        if not overlaps:
            self.finish()
        ready: list[_Ahead] = []

        def segment() -> bool:
            ready.append(self._segmented(row, tell, overlaps))
            return True

        self._guarded(claim, segment)
        self.finish()
        if ready:
            self._writing = self._writer.submit(self._guarded, claim, lambda: self._write(claim, ready[0]))
        if not overlaps:
            self.finish()

    def finish(self) -> None:
        """Wait until the last result is written."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _segmented(self, row: sqlite3.Row, tell: Tell, overlaps: bool) -> _Ahead:
        mine = self._taken(row)
        try:
            tell("read", 0.0, None)
            _, way = mine.way.result()
            if overlaps:
                self._read_ahead(row)
            way.segment(tell)
        except BaseException:
            mine.drop()
            raise
        return mine

    def _taken(self, row: sqlite3.Row) -> _Ahead:
        """Return the job as it was read ahead, or start reading it."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.job == row["id"]:
            return ahead
        if ahead is not None:
            ahead.drop()
        return self._begun(row)

    def _begun(self, row: sqlite3.Row) -> _Ahead:
        folder = self._folder / row["id"] / new_id()

        def read() -> tuple[Path, UploadOnItsWay]:
            scan = self._scan_of(row)
            options = PredictOptions(**json.loads(row["options"]))
            folder.mkdir(parents=True)
            way = UploadOnItsWay(scan, folder, self._models[row["model"]], options)
            way.read()
            return scan, way

        return _Ahead(row["id"], folder, self._reader.submit(read))

    def _read_ahead(self, row: sqlite3.Row) -> None:
        """Start reading the next job, if it uses the same model and no worker died during it."""
        following = self._jobs.next_queued()
        if following is not None and following["model"] == row["model"] and following["attempts"] == 0:
            self._ahead = self._begun(following)

    def _write(self, claim: str, mine: _Ahead) -> bool:
        folder = mine.folder
        is_kept = False
        try:
            scan, way = mine.way.result()
            done = way.write()
            noticed = told(done.warnings, scan)
            if done.error is not None:
                self._jobs.failed(claim, reason_of(done, scan), warnings=noticed)
                return False
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            is_kept = self._jobs.done(claim, folder.name, size, noticed)
        finally:
            if not is_kept:
                _remove(folder)
        return False


def _remove(folder: Path) -> None:
    """Remove a result, and the job's folder if it is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
