"""A client of the server, which imports no numerical packages."""

from __future__ import annotations

import json
import os
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import httpx

from tomoseg.errors import InputError, ServerError
from tomoseg.files.atomic import errors_told, whole_folder
from tomoseg.server.client_files import check_name, pack_scan, packed_mask, unpack_result
from tomoseg.version import __version__

API_VERSION = 1
"""Version of the interface that this client uses."""

CHUNK_BYTES = 8 << 20
"""Bytes per request, the most that is sent again after a broken connection."""

TRIES = 8
"""Attempts, with increasing waits, before an unreachable server is given up."""

LONGEST_WAIT_SECONDS = 20.0

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".zip")
_ENDS = {"done", "failed", "cancelled", "expired"}
_TUS = {"tus-resumable": "1.0.0"}

Job = Mapping[str, Any]
"""A job as the server sends it, see `docs/reference/server.md`."""


class Client:
    """A client of a `tomoseg serve` server; versions are compared at the first call.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8117`.
        token: Token of the server, if it requires one; if omitted, that of the environment variable TOMOSEG_TOKEN.
        timeout: Time limit in seconds for the answer to a request.

    Example:
        >>> Client("http://127.0.0.1:8117").url
        'http://127.0.0.1:8117'
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        if not self.url.lower().startswith(("http://", "https://")):
            raise ServerError(f"{url}: expected a server's URL such as http://127.0.0.1:8117, got one without http://")
        given = os.environ.get("TOMOSEG_TOKEN") if token is None else token
        headers = {"tomoseg-api": str(API_VERSION)} | ({"authorization": f"Bearer {given}"} if given else {})
        try:
            # Loading certificates takes longer than a request; plain HTTP needs none.
            is_checked = not self.url.lower().startswith("http://")
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, verify=is_checked)
        except (httpx.InvalidURL, ValueError) as error:
            raise ServerError(f"{url}: expected a server's URL such as http://127.0.0.1:8117, got: {error}") from None
        self._is_known = False

    def info(self) -> dict[str, Any]:
        """Return version, limits and services of the server.

        Raises:
            ServerError: If it cannot be reached, is not a tomoseg server, has another version, or requires a token.
        """
        return self._json("GET", "/api/v1/info")

    def models(self) -> list[dict[str, Any]]:
        """Return the models that the server offers, with their structures.

        Raises:
            ServerError: If it cannot be reached, or refuses.
        """
        return self._json("GET", "/api/v1/models")

    def upload(self, scan: Path | str, files: Sequence[Path] = ()) -> str:
        """Upload a scan, and resume if the connection breaks; returns the id of the upload.

        Args:
            scan: A file, or a folder of DICOM files, which are sent as one ZIP archive without their names.
            files: The files of the folder that make up the scan; if omitted, all files below it.

        Raises:
            InputError: If there is no such file or folder.
            ServerError: If the server cannot be reached, or refuses.
        """
        path = Path(scan)
        if path.is_dir():
            chosen = list(files) or [one for one in sorted(path.rglob("*")) if one.is_file()]
            with tempfile.TemporaryFile() as packed:
                pack_scan(chosen, packed)
                return self._send(packed, ".zip")
        if not path.is_file():
            raise InputError(f"{path}: expected a scan to send, found nothing there; check the path")
        suffix = next((one for one in _SUFFIXES if path.name.lower().endswith(one)), ".dcm")
        with errors_told(path), path.open("rb") as stream:
            return self._send(stream, suffix)

    def submit(self, uploads: Sequence[str], model: str | None = None, options: Mapping[str, Any] | None = None) -> Job:
        """Create a job for uploads; the same uploads, model and options return the same job.

        Args:
            uploads: Ids of the uploads.
            model: Name of a model that the server offers; its default if omitted.
            options: Options of `tomoseg predict`.

        Raises:
            ServerError: If the server cannot be reached, or refuses.
        """
        asked = {"uploads": list(uploads), "model": model, "options": dict(options or {})}
        return self._json("POST", "/api/v1/jobs", json=asked)

    def job(self, job: Job | str) -> Job:
        """Return the current state of a job.

        Args:
            job: A job or its id.

        Raises:
            ServerError: If the server cannot be reached, or there is no such job.
        """
        return self._json("GET", f"/api/v1/jobs/{_id(job)}")

    def wait(self, job: Job | str, on_change: Callable[[Job], None] = lambda job: None) -> Job:
        """Wait until a job has ended, and return it.

        Args:
            job: A job or its id.
            on_change: Called with the job whenever it changes.

        Raises:
            ServerError: If the server cannot be reached for long, or there is no such job.
        """
        last: str | None = None
        shown = self.job(job)
        on_change(shown)
        while shown["state"] not in _ENDS:
            try:
                for number, shown in self._events(_id(job), last):
                    last = number
                    on_change(shown)
            except httpx.HTTPError:
                time.sleep(1.0)
            if shown["state"] not in _ENDS:
                shown = self.job(job)  # the stream broke; fails if the server is gone
        return shown

    def cancel(self, job: Job | str) -> Job:
        """Cancel a job.

        Args:
            job: A job or its id.

        Raises:
            ServerError: If the server cannot be reached, or the job has ended.
        """
        return self._json("POST", f"/api/v1/jobs/{_id(job)}/cancel")

    def remove(self, job: Job | str) -> None:
        """Remove a job with its scan and its results.

        Args:
            job: A job or its id.

        Raises:
            ServerError: If the server cannot be reached, or there is no such job.
        """
        self._ask("DELETE", f"/api/v1/jobs/{_id(job)}")

    def result(self, job: Job | str) -> dict[str, Any]:
        """Return the result of a completed job: structures, warnings and files.

        Args:
            job: A job or its id.

        Raises:
            ServerError: If the server cannot be reached, or the job is not done.
        """
        return self._json("GET", f"/api/v1/jobs/{_id(job)}/result")

    def download(
        self, job: Job | str, folder: Path | str, renamed: Callable[[str], str] = lambda name: name
    ) -> list[Path]:
        """Download the files of a job that is done; either all of them appear, or none.

        Args:
            job: A job or its id.
            folder: Folder to write to.
            renamed: Function from the name of a file on the server to its name in the folder.

        Returns:
            The files.

        Raises:
            ServerError: If the server cannot be reached, the job is not done, or a name would lead elsewhere.
            OutputError: If they cannot be written.
        """
        place = Path(folder)
        names = {one["name"]: renamed(one["name"]) for one in self.result(job)["files"]}
        for name in names.values():
            check_name(name)
        with whole_folder(place) as aside:
            for name, called in names.items():
                (aside / called).parent.mkdir(parents=True, exist_ok=True)
                (aside / called).write_bytes(self._ask("GET", f"/api/v1/jobs/{_id(job)}/files/{name}").content)
        return [place / called for called in names.values()]

    def correct(self, job: Job | str, structure: str, mask: Path | str, who: str = "") -> int:
        """Save a corrected mask for a job that is done, as a new version; returns the number of the version.

        Args:
            job: A job or its id.
            structure: Name of the structure.
            mask: A NIfTI, NRRD or MetaImage file of 0 and 1 on the scan's grid, in any orientation.
            who: Name of the person who corrected it.

        Raises:
            InputError: If the file is not a mask.
            GridError: If it lies on another grid than the scan.
            ServerError: If the server cannot be reached, or there is no such job or structure.
        """
        content = packed_mask(Path(mask), self._case(_id(job)))
        named = {"structure": structure, "who": who}
        return int(self._json("POST", f"/api/v1/jobs/{_id(job)}/corrections", params=named, content=content)["version"])

    def corrections(self, job: Job | str) -> list[dict[str, Any]]:
        """Return the corrected masks of a completed job, in the order in which they were saved.

        Args:
            job: A job or its id.

        Raises:
            ServerError: If the server cannot be reached, or the job is not done.
        """
        found: list[dict[str, Any]] = self._json("GET", f"/api/v1/jobs/{_id(job)}/corrections")["corrections"]
        return found

    def download_corrected(self, job: Job | str, folder: Path | str) -> list[Path]:
        """Download the result with the latest correction of each structure; either all files appear, or none.

        Args:
            job: A job or its id.
            folder: Folder to write to.

        Returns:
            The files, among them `corrections.json`.

        Raises:
            ServerError: If the server cannot be reached, or the job has no correction.
            OutputError: If they cannot be written.
        """
        self._know()
        with tempfile.TemporaryFile() as packed:
            try:
                with self._http.stream("GET", f"/api/v1/jobs/{_id(job)}/corrections/download") as answer:
                    if not answer.is_success:
                        answer.read()
                    for piece in _checked(answer).iter_bytes():
                        packed.write(piece)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from None
            return unpack_result(packed, Path(folder))

    def segment(
        self,
        scan: Path | str,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        on_change: Callable[[Job], None] = lambda job: None,
    ) -> Job:
        """Upload a scan and wait for its result; returns the job, which is done.

        Args:
            scan: A file, or a folder of DICOM files.
            model: Name of a model that the server offers; its default if omitted.
            options: Options of `tomoseg predict`.
            on_change: Called with the job whenever it changes.

        Raises:
            InputError: If there is no such file or folder.
            ServerError: If the server cannot be reached or refuses, or the job fails.
        """
        self._know()
        job = self.wait(self.submit([self.upload(scan)], model, options), on_change)
        if job["state"] != "done":
            raise ServerError(job["reason"] or f"expected a finished job, got one that is {job['state']}")
        return job

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> Literal[False]:
        self.close()
        return False

    def _send(self, stream: IO[bytes], suffix: str) -> str:
        size = stream.seek(0, os.SEEK_END)
        name = b64encode(f"scan{suffix}".encode()).decode()
        headers = {**_TUS, "upload-length": str(size), "upload-metadata": f"filename {name}"}
        upload = self._ask("POST", "/api/v1/tus/", headers=headers).headers["location"].rpartition("/")[2]
        at, failures = 0, 0
        while at < size:
            try:
                at = self._append(upload, stream, at)
                failures = 0
            except (httpx.TransportError, ServerError) as error:
                failures += 1
                if failures >= TRIES or (
                    isinstance(error, ServerError) and error.status not in {408, 409, 423, 502, 503, 504}
                ):
                    raise error if isinstance(error, ServerError) else self._unreachable(error) from None
                time.sleep(min(0.2 * 2**failures, LONGEST_WAIT_SECONDS))
                at = int(self._ask("HEAD", f"/api/v1/tus/{upload}", headers=_TUS).headers["upload-offset"])
        return upload

    def _append(self, upload: str, stream: IO[bytes], at: int) -> int:
        stream.seek(at)
        headers = {**_TUS, "content-type": "application/offset+octet-stream", "upload-offset": str(at)}
        path, content = f"/api/v1/tus/{upload}", stream.read(CHUNK_BYTES)
        return int(_checked(self._http.patch(path, headers=headers, content=content)).headers["upload-offset"])

    def _events(self, job: str, last: str | None) -> Iterator[tuple[str, Job]]:
        headers = {} if last is None else {"last-event-id": last}
        with self._http.stream("GET", f"/api/v1/jobs/{job}/events", headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                return
            number = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = value
                elif name == "data":
                    yield number, json.loads(value)

    def _know(self) -> None:
        """Compare versions, once.

        Raises:
            ServerError: If the server cannot be reached, is not a tomoseg server or has another version.
        """
        if self._is_known:
            return
        try:
            said = self._reached("GET", "/health").json()
            name, api = said["tomoseg"], said["api"]
        except (ValueError, KeyError, TypeError):
            raise ServerError(f"{self.url}: expected a server of tomoseg, got another; check the URL") from None
        if api != API_VERSION:
            raise ServerError(
                f"{self.url}: expected a server of interface {API_VERSION}, got {api} of tomoseg {name}; install that "
                f"version here, or {__version__} there"
            )
        self._is_known = True

    def _case(self, job: str) -> dict[str, Any]:
        """Return the view of a job, which is made on first request."""
        while (answer := self._ask("GET", f"/api/v1/jobs/{job}/view/case.json")).status_code == httpx.codes.ACCEPTED:
            time.sleep(0.2)
        case: dict[str, Any] = answer.json()
        return case

    def _json(self, method: str, path: str, **more: Any) -> Any:
        return self._ask(method, path, **more).json()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        self._know()
        return _checked(self._reached(method, path, **more))

    def _reached(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request and return the response, with retries while the server is unreachable, as during a restart."""
        attempt = 1
        while True:
            try:
                return self._http.request(method, path, **more)
            except httpx.HTTPError as error:
                is_passing = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) and self._is_known
                if attempt == TRIES or not is_passing:
                    raise self._unreachable(error) from None
            time.sleep(min(0.2 * 2**attempt, LONGEST_WAIT_SECONDS))
            attempt += 1

    def _unreachable(self, error: Exception) -> ServerError:
        text = f"{self.url}: expected a server that answers, got: {error or type(error).__name__}; "
        return ServerError(text + "start it with `tomoseg serve`, or check the URL")


def _checked(answer: httpx.Response) -> httpx.Response:
    """Return a response if it is a success.

    Raises:
        ServerError: If it is an error, with the server's message.
    """
    if answer.is_success:
        return answer
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"expected an answer from the server, got status {answer.status_code}; check the proxy between"
    raise ServerError(str(detail), answer.status_code)


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else str(job["id"])
