"""Store of uploaded files, complete or resumable, with size limits.

Files are not read here but by workers. Only the suffix of a client's file name is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tomoseg.files.atomic import link_or_copy
from tomoseg.server.database import Database
from tomoseg.server.jobs import new_id
from tomoseg.server.records import Upload
from tomoseg.server.refusals import RefusalError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
"""Suffixes of files that contain one scan; others are taken for DICOM."""

DICOM_SUFFIX = ".dcm"

SPARE_BYTES = 500_000_000
"""Free disk space that is never used."""

UNFINISHED_SECONDS = 24 * 3600.0
"""Seconds after its last byte for which an incomplete upload is kept."""


@dataclass(frozen=True)
class Rules:
    """Limits of the server.

    Attributes:
        upload_bytes: Largest size of one upload.
        quota_bytes: Largest size of all stored files.
        keep_seconds: Seconds for which scans and results are kept.
        job_seconds: Time limit of a job.
        job_memory_bytes: Memory limit of a worker; None for most of the machine's memory.
    """

    upload_bytes: int = 4_000_000_000
    quota_bytes: int = 100_000_000_000
    keep_seconds: float = 7 * 24 * 3600.0
    job_seconds: float = 3600.0
    job_memory_bytes: int | None = None


def suffix_of(name: str) -> str:
    """Return the suffix under which a file is stored.

    Args:
        name: The client's name of the file.

    Example:
        >>> suffix_of("Doe^John/../CT.NII.GZ"), suffix_of("IM0001")
        ('.nii.gz', '.dcm')
    """
    return next((one for one in SUFFIXES if name.lower().endswith(one)), DICOM_SUFFIX)


def digest_of(digests: Iterable[str]) -> str:
    """Return one digest of one or several files, independent of their order.

    Args:
        digests: SHA-256 of each file.

    Example:
        >>> digest_of(["ab"]), digest_of(["ab", "cd"]) == digest_of(["cd", "ab"])
        ('ab', True)
    """
    each = sorted(digests)
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()


class UploadStore:
    """Operations on uploads.

    Args:
        database: The database that lists them.
        folder: Folder of their files, with a folder for each.
        rules: Limits of the server.
    """

    def __init__(self, database: Database, folder: Path, rules: Rules) -> None:
        self.database, self.folder, self.rules = database, folder, rules

    def used_bytes(self) -> int:
        """Return the size of scans and results, including the rest of incomplete uploads."""
        row = self.database.first(
            "SELECT (SELECT coalesce(sum(bytes), 0) FROM uploads) + (SELECT coalesce(sum(bytes), 0) FROM jobs) AS bytes"
        )
        return 0 if row is None else row["bytes"]

    def begin(self, suffix: str, size: int, files: int = 1) -> str:
        """Create an upload, and return its id.

        Args:
            suffix: Result of `suffix_of`.
            size: Its size in bytes, or an upper bound.
            files: Number of files, if known.

        Raises:
            RefusalError: If it exceeds the limit of one upload or the rest of the quota, or the disk is full.
        """
        self.check_size(size)
        upload, now = new_id(), time.time()
        (self.folder / upload).mkdir(parents=True)
        values = (upload, now, now, size, files, suffix)
        self.database.change(
            "INSERT INTO uploads (id, created, used, bytes, files, suffix) VALUES (?, ?, ?, ?, ?, ?)", *values
        )
        return upload

    def check_size(self, size: int) -> None:
        """Refuse a size before it is sent.

        Args:
            size: Size in bytes.

        Raises:
            RefusalError: If it exceeds the limit of one upload or the rest of the quota, or the disk is full.
        """
        most, used = self.rules.upload_bytes, self.used_bytes()
        if size > most:
            raise RefusalError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected an upload of at most {_in_words(most)}, got {_in_words(size)}; send a part of the scan, or "
                "start the server with a larger --upload-size",
            )
        left = self.rules.quota_bytes - used
        if size > left:
            raise RefusalError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected an upload of at most {_in_words(max(left, 0))}, which is left of "
                f"{_in_words(self.rules.quota_bytes)}, got {_in_words(size)}; remove finished jobs, or start "
                "the server with a larger --quota",
            )
        if size > shutil.disk_usage(self.folder).free - SPARE_BYTES:
            raise RefusalError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"expected {_in_words(size + SPARE_BYTES)} of free disk space, got less; remove finished jobs, or free "
                "some space on the server's disk",
            )

    def file(self, upload: str, number: int, suffix: str) -> Path:
        """Return the path of a file of an upload.

        Args:
            upload: Id of the upload.
            number: The number of the file, from 1.
            suffix: Result of `suffix_of`.
        """
        return self.folder / upload / f"{number:06d}{suffix}"

    def touch(self, upload: str) -> None:
        """Record that an upload is used now.

        Args:
            upload: Id of the upload.
        """
        self.database.change("UPDATE uploads SET used = ? WHERE id = ?", time.time(), upload)

    def complete(self, upload: str, sha256: str, size: int, files: int, suffix: str) -> None:
        """Mark an upload as complete and on disk.

        Args:
            upload: Id of the upload.
            sha256: Result of `digest_of`.
            size: Its size in bytes.
            files: Number of files.
            suffix: Suffix of the first file.
        """
        self.database.change(
            "UPDATE uploads SET sha256 = ?, bytes = ?, files = ?, suffix = ?, used = ? WHERE id = ?",
            *(sha256, size, files, suffix, time.time(), upload),
        )

    def row(self, upload: str) -> sqlite3.Row:
        """Return an upload's row.

        Args:
            upload: Id of the upload.

        Raises:
            RefusalError: If there is none.
        """
        row = self.database.first("SELECT * FROM uploads WHERE id = ?", upload)
        if row is None:
            raise RefusalError(
                HTTPStatus.NOT_FOUND,
                "expected the id of an upload, got one that does not exist or was removed; send the scan again",
            )
        return row

    def shown(self, row: sqlite3.Row) -> Upload:
        """Return an upload as it is sent.

        Args:
            row: The upload's row.
        """
        is_complete = row["sha256"] is not None
        received = row["bytes"] if is_complete else self.received(row)
        kept = self.rules.keep_seconds if is_complete else UNFINISHED_SECONDS
        return Upload(
            **{name: row[name] for name in ("id", "bytes", "files", "sha256")},
            received=received,
            complete=is_complete,
            expires=row["used"] + kept,
        )

    def received(self, row: sqlite3.Row) -> int:
        """Return the received bytes of an upload, from the size of its file on disk.

        Args:
            row: The row of an upload of one file.
        """
        path = self.file(row["id"], 1, row["suffix"])
        return path.stat().st_size if path.exists() else 0

    def scan_of(self, uploads: Sequence[str], folder: Path) -> Path:
        """Return the path of the scan that some uploads form: a file, or a folder of files.

        Args:
            uploads: Ids of the uploads.
            folder: Folder in which the files of several are linked; it may exist from a former attempt.
        """
        folders = [self.folder / one for one in uploads]
        if len(folders) == 1:
            files = sorted(folders[0].iterdir())
            return files[0] if len(files) == 1 else folders[0]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, file in enumerate((file for one in folders for file in sorted(one.iterdir())), start=1):
            link_or_copy(file, folder / f"{number:06d}{suffix_of(file.name)}")
        return folder

    def use(self, uploads: Sequence[str]) -> str:
        """Record the use of uploads, and return their joint digest.

        Args:
            uploads: Ids of the uploads.

        Raises:
            RefusalError: If one is missing or incomplete.
        """
        rows = [self.row(one) for one in uploads]
        if any(row["sha256"] is None for row in rows):
            raise RefusalError(
                HTTPStatus.CONFLICT,
                "expected uploads that are complete, got one of which bytes are missing; send the rest first",
            )
        for one in uploads:
            self.touch(one)
        return digest_of(row["sha256"] for row in rows)

    def remove(self, upload: str) -> None:
        """Remove an upload that no job needs.

        Args:
            upload: Id of the upload.

        Raises:
            RefusalError: If a job needs it.
        """
        removed = self.database.change(f"DELETE FROM uploads WHERE id = ? AND {_UNUSED}", upload)
        if not removed and self.database.first("SELECT 1 FROM uploads WHERE id = ?", upload) is not None:
            raise RefusalError(
                HTTPStatus.CONFLICT,
                "expected an upload that no job uses, got one in use; remove its jobs first",
            )
        shutil.rmtree(self.folder / upload, ignore_errors=True)

    def sweep(self) -> None:
        """Remove uploads that have not been used for long."""
        now = time.time()
        rows = self.database.all(
            f"SELECT id FROM uploads WHERE used < CASE WHEN sha256 IS NULL THEN ? ELSE ? END AND {_UNUSED}",
            *(now - UNFINISHED_SECONDS, now - self.rules.keep_seconds),
        )
        for row in rows:
            self.remove(row["id"])

    def sweep_strays(self) -> None:
        """Remove remains of a killed server; call it before uploads are accepted."""
        known = {row["id"]: row for row in self.database.all("SELECT * FROM uploads")}
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in self.folder.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        for row in known.values():
            cut = row["sha256"] is None and row["files"] != 1  # cannot be resumed
            if cut or not (self.folder / row["id"]).is_dir():
                self.remove_if_unused(row["id"])

    def remove_if_unused(self, upload: str) -> None:
        """Remove an upload unless a job needs it.

        Args:
            upload: Id of the upload.
        """
        if self.database.change(f"DELETE FROM uploads WHERE id = ? AND {_UNUSED}", upload):
            shutil.rmtree(self.folder / upload, ignore_errors=True)


def uploads_of(row: sqlite3.Row) -> list[str]:
    """Return the ids of a job's uploads.

    Args:
        row: The job's row.
    """
    return json.loads(row["uploads"])


# Corrected label maps and their images are kept permanently.
_UNUSED = (
    "NOT EXISTS (SELECT 1 FROM jobs, json_each(jobs.uploads) AS one "
    "WHERE one.value = uploads.id AND jobs.state != 'expired') AND NOT EXISTS "
    "(SELECT 1 FROM facts WHERE name LIKE 'label:%' AND json_extract(value, '$.upload') = uploads.id) AND NOT EXISTS "
    "(SELECT 1 FROM facts WHERE name LIKE 'label:' || uploads.id || ':%')"
)


def _in_words(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
