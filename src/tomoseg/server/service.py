"""The service shared by all routes: stores, models and limits."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from tomoseg.errors import unknown_name_message
from tomoseg.formats import FORMATS
from tomoseg.options import OF_MANY, PredictOptions, thresholds_of
from tomoseg.packages import require_installed
from tomoseg.server.corrections import FOLDER as CORRECTIONS
from tomoseg.server.corrections import Corrected
from tomoseg.server.database import Database
from tomoseg.server.dicomweb import Pacs
from tomoseg.server.jobs import JobStore, new_id
from tomoseg.server.label_store import LabelStore
from tomoseg.server.offers import Offer
from tomoseg.server.records import RESULT, Job, Result
from tomoseg.server.refusals import RefusalError
from tomoseg.server.shown import FAILED, READY, ViewStore
from tomoseg.server.standings import Standings
from tomoseg.server.trainer import Learning, Trainer
from tomoseg.server.uploads import Rules, UploadStore, uploads_of
from tomoseg.server.watching import Watch
from tomoseg.server.worker import JOBS, UPLOADS
from tomoseg.settings import deciding
from tomoseg.version import __version__


@dataclass
class Service:
    """State of the server.

    Attributes:
        folder: Folder of uploads, jobs and results.
        offers: Models by name, the default first.
        rules: Limits of the server.
        asks_for_token: Whether a token is required.
        learning: Settings of training for clients.
        pacs: The PACS that series are fetched from; None without one.
    """

    folder: Path
    offers: dict[str, Offer]
    rules: Rules = field(default_factory=Rules)
    asks_for_token: bool = False
    learning: Learning = field(default_factory=Learning)
    pacs: Pacs | None = None

    def __post_init__(self) -> None:
        self.database = Database(self.folder)
        self.jobs = JobStore(self.database)
        self.views = ViewStore(self.database)
        self.uploads = UploadStore(self.database, self.folder / UPLOADS, self.rules)
        self.uploads.folder.mkdir(exist_ok=True)
        self.labels = LabelStore(self.database, self.uploads)
        self.watch = Watch(self.folder)
        self.standings = Standings(self.jobs)
        self.trainer = Trainer(self.database, self.folder, self.offers, self.learning)

    def make_job(self, uploads: Sequence[str], model: str | None, options: Mapping[str, Any]) -> tuple[Job, bool]:
        """Create a job, or return the existing one of the same uploads, model and options.

        Args:
            uploads: Ids of uploads, at least one.
            model: Name of the model; None for the default.
            options: The options of `tomoseg predict`.

        Returns:
            The job, and whether it is new.

        Raises:
            RefusalError: If an upload is missing or incomplete, or a model or a structure is unknown.
            ConfigError: If an option is unknown or has a wrong value.
        """
        if not uploads or len(set(uploads)) != len(uploads):
            text = "expected the ids of one or more uploads, each once, got none or a duplicate; correct them"
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
        name = next(iter(self.offers)) if model is None else model
        if name not in self.offers:
            text = f"model: {unknown_name_message(name, tuple(self.offers))}"
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        asked = self._asked(name, options)
        digest = self.uploads.use(uploads)
        key: dict[str, Any] = {
            "upload": digest,
            "model": self.offers[name].shape.sha256,
            "name": name,
            "tomoseg": __version__,
        }
        key |= {"options": deciding(asked), "preview": asked.lang if asked.preview else None}
        key |= {"page_3d": asked.lang} if asked.page_3d else {}
        hashed = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        mine = new_id()
        job = self.jobs.make(mine, hashed, name, asked.model_dump(mode="json", exclude_unset=True), uploads)
        return self.job(job), job == mine

    def _asked(self, model: str, options: Mapping[str, Any]) -> PredictOptions:
        if of_many := [name for name in OF_MANY if name in options]:
            text = f"{of_many[0]}: expected options for one scan, got one for folders of scans; leave it off"
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
        asked = PredictOptions(**options)
        names = [one.name for one in self.offers[model].shape.structures]
        for structure in asked.roi_subset:
            if structure not in names:
                text = f"roi_subset: {unknown_name_message(structure, names)}"
                raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, text)
        thresholds_of(asked.threshold, names)
        for name in asked.format:
            require_installed(*FORMATS[name].packages)
        if asked.page_3d:
            require_installed("skimage")
        return asked

    def job(self, job: str) -> Job:
        """Return a job as it is sent.

        Args:
            job: Id of the job.

        Raises:
            RefusalError: If there is none.
        """
        return self.shown(self.row(job))

    def shown(self, row: sqlite3.Row) -> Job:
        """Return a job as it is sent.

        Args:
            row: The job's row.
        """
        return self.jobs.shown(row, self.rules.keep_seconds)

    def row(self, job: str) -> sqlite3.Row:
        """Return a job's row.

        Args:
            job: Id of the job.

        Raises:
            RefusalError: If there is none.
        """
        row = self.jobs.row(job)
        if row is None:
            raise RefusalError(
                HTTPStatus.NOT_FOUND, "expected the id of a job, got one that does not exist or was removed; check it"
            )
        return row

    def result_folder(self, job: str) -> Path:
        """Return the folder of a job's result.

        Args:
            job: Id of the job.

        Raises:
            RefusalError: If it is not done, or its files are removed.
        """
        row = self.row(job)
        if row["state"] == "expired":
            raise RefusalError(
                HTTPStatus.GONE, "expected a job whose files are kept, got one that expired; send it again"
            )
        if row["state"] != "done":
            text = f"expected a finished job, got one that is {row['state']}; wait for it, or read why in its `reason`"
            raise RefusalError(HTTPStatus.CONFLICT, text)
        return self.folder / JOBS / row["id"] / row["result"]

    def cancel(self, job: str) -> Job:
        """Cancel a job, and return it.

        Args:
            job: Id of the job.

        Raises:
            RefusalError: If there is none, or it has ended.
        """
        if not self.jobs.cancel(job):
            state = self.job(job).state
            text = f"expected a job that has not ended, got one that is {state}; there is nothing to cancel"
            raise RefusalError(HTTPStatus.CONFLICT, text)
        return self.job(job)

    def result(self, job: str) -> Result:
        """Return the result of a job.

        Args:
            job: Id of the job.

        Raises:
            RefusalError: If it is not done, or its files are removed.
        """
        stored = json.loads((self.result_folder(job) / RESULT).read_text(encoding="utf-8"))
        return Result(**stored | {"job": job})

    def result_file(self, job: str, name: str) -> Path:
        """Return the path of one of a result's files.

        Args:
            job: Id of the job.
            name: A name that the result lists; others are refused.

        Raises:
            RefusalError: If the job is not done, or there is no such file.
        """
        folder = self.result_folder(job)
        if name not in {one.name for one in self.result(job).files}:
            text = "expected the name of one of the result's files, got another; the result lists them"
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        return folder / name

    def corrected(self, job: str) -> Corrected:
        """Return a job for corrections; one at a time, since the files of several uploads are linked together again.

        Args:
            job: Id of the job.

        Raises:
            RefusalError: If it is not done, or its files are removed.
        """
        result, row = self.result_folder(job), self.row(job)
        folder = result.parent
        scan = self.uploads.scan_of(uploads_of(row), folder / CORRECTIONS / "input")
        return Corrected(str(folder), str(scan), str(result), json.loads(row["options"]))

    def view_file(self, job: str, part: str) -> Path | None:
        """Return a file of a job's view; None while it is being made.

        Args:
            job: Id of the job.
            part: One of `shown.Part`.

        Raises:
            RefusalError: If the job is not done, or cannot be shown.
        """
        self.result_folder(job)
        self.views.ask(job)
        row = self.row(job)
        if row["view"] == FAILED:
            text = "expected a job with masks as NIfTI, which can be shown, got another format; ask for nifti"
            raise RefusalError(HTTPStatus.CONFLICT, text)
        return self.folder / JOBS / row["id"] / row["view_claim"] / part if row["view"] == READY else None


def service_of(request: Request) -> Service:
    """Return the service of a request's application."""
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(service_of)]
"""Type of a route's parameter that receives the service."""
