"""Proxy to the DICOMweb of a PACS: OHIF reads images through it, and series are fetched from it.

Source: DICOM PS3.18, search (QIDO-RS, 10.6) and retrieve (WADO-RS, 10.4) transactions.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from anyio.to_thread import run_sync

from tomoseg.errors import ConfigError
from tomoseg.server.receiving import Received, receive_upload
from tomoseg.server.refusals import RefusalError
from tomoseg.server.uploads import UploadStore

if TYPE_CHECKING:
    import httpx  # not loaded by servers without a PACS

LOGIN = "TOMOSEG_DICOMWEB_LOGIN"
"""Environment variable with the PACS's `NAME:PASSWORD`."""

UID = re.compile(r"[0-9]+(\.[0-9]+)+")

CONNECT_SECONDS, SILENT_SECONDS = 10.0, 120.0
"""Time limits in seconds for connecting to the PACS, and between its bytes."""

_PATH = re.compile(r"(studies|series|instances)(/[A-Za-z0-9._-]+)*/?")
_SERIES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STUDY_UID, _INSTANCES = "0020000D", "00201209"


class Pacs:
    """A client of one DICOMweb server.

    Args:
        url: Base URL of its `studies` and `series`.

    Raises:
        ConfigError: If it is not a URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            text = "expected the address of a DICOMweb such as http://127.0.0.1:8042/dicom-web"
            raise ConfigError(f"dicomweb: {text}, got {url!r}; correct it")
        self._url = url.rstrip("/")
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def answer(self, path: str, query: str = "", accept: str = "*/*") -> AsyncIterator[httpx.Response]:
        """Forward a request, and yield the response as a stream.

        Args:
            path: A path of DICOMweb, relative to its URL; any other is refused.
            query: Query string.
            accept: Accepted media types.

        Raises:
            RefusalError: If the path is not of DICOMweb, or the PACS cannot be reached or denies access.
        """
        import httpx

        if _PATH.fullmatch(path) is None or ".." in path:
            text = "expected a DICOMweb path such as studies or studies/UID/series, got another; correct it"
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        if self._client is None:
            login = os.environ.get(LOGIN, "").partition(":")
            timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
            self._client = httpx.AsyncClient(auth=(login[0], login[2]) if login[1] else None, timeout=timeout)
        headers = {"accept": accept, "accept-encoding": "identity"}
        address = f"{self._url}/{path}{'?' if query else ''}{query}"
        try:
            async with self._client.stream("GET", address, headers=headers) as answer:
                if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                    text = f"expected a PACS that lets this server in, got status {answer.status_code}; set {LOGIN}"
                    raise RefusalError(HTTPStatus.BAD_GATEWAY, f"{text} to NAME:PASSWORD where the server is started")
                yield answer
        except httpx.HTTPError as error:
            text = f"expected a PACS that answers, got {type(error).__name__}; check --dicomweb and the PACS"
            raise RefusalError(HTTPStatus.BAD_GATEWAY, text) from None

    async def fetched(self, series: str, store: UploadStore) -> str:
        """Fetch a series, and return the id of its upload.

        Args:
            series: Its Series Instance UID.
            store: The store that it is written to.

        Raises:
            RefusalError: If there is no such series, the PACS cannot be reached, or the series is incomplete.
        """
        found = await self._found(series)
        study = _value(found, _STUDY_UID)
        if not isinstance(study, str) or UID.fullmatch(study) is None:
            text = (
                "expected the identifier of a series in the PACS, got one that it does not have; check the identifier"
            )
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        async with self.answer(f"studies/{study}/series/{series}", accept=_SERIES) as answer:
            if answer.status_code != HTTPStatus.OK:
                text = (
                    f"expected the files of the series, got status {answer.status_code} from the PACS; check the PACS"
                )
                raise RefusalError(HTTPStatus.BAD_GATEWAY, text)
            upload, received = await _received(store, answer)
        count = _value(found, _INSTANCES)
        if not upload or (isinstance(count, int) and len(received.digests) < count):
            if upload:
                await run_sync(store.remove_if_unused, upload)
            text = f"expected {count if count is not None else 'some'} files of the series, got {len(received.digests)}"
            raise RefusalError(HTTPStatus.BAD_GATEWAY, f"{text}; check the PACS and try again")
        return upload

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _found(self, series: str) -> dict[str, Any]:
        """Return the PACS's attributes of a series; empty if it does not have it.

        Raises:
            RefusalError: If the answer is not of DICOMweb.
        """
        query = f"SeriesInstanceUID={quote(series)}&includefield={_INSTANCES}"
        async with self.answer("series", query, "application/dicom+json") as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return {}
            await answer.aread()
            try:
                listed = answer.json() if answer.is_success else None
            except ValueError:
                listed = None
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            text = f"expected a list of series, got status {answer.status_code} and another answer from the PACS"
            raise RefusalError(HTTPStatus.BAD_GATEWAY, f"{text}; check --dicomweb")
        return listed[0] if listed else {}


async def _received(store: UploadStore, answer: httpx.Response) -> tuple[str, Received]:
    """Write the files of a series as they arrive.

    Raises:
        RefusalError: If they are too large, or not DICOM files.
    """
    length = answer.headers.get("content-length", "")
    kind = answer.headers.get("content-type", "")
    size = int(length) if length.isdecimal() else None
    try:
        return await receive_upload(store, answer.aiter_bytes(), kind, size, None)
    except RefusalError as error:
        if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}:
            text = "expected DICOM files as DICOMweb sends them, got another answer from the PACS; check the PACS"
            raise RefusalError(HTTPStatus.BAD_GATEWAY, text) from None
        raise


def _value(found: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute in DICOM JSON; None if it has none."""
    element = found.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None
