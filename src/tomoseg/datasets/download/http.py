"""HTTP requests: allowed URLs, retries and waiting times.

Only https is used, also after redirects; plain http only with this machine itself, or if it is allowed explicitly.

Retries are implemented here and not left to httpx, since a failure that brought new bytes resets the count.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from tomoseg.errors import DownloadError
from tomoseg.files.http_status import MAY_PASS, why_untrusted
from tomoseg.hosts import LOOPBACK
from tomoseg.version import __version__

CHUNK = 1 << 18
"""Bytes read at a time."""

_RANGE_NOT_SATISFIABLE = 416

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Settings of retries.

    Attributes:
        tries: Number of failures in a row after which a request is given up.
        first_wait_s: Seconds before the second attempt; every further wait is twice as long.
        longest_wait_s: Maximum wait in seconds, whatever the server asks for.
        timeout_s: Maximum seconds for which a connection may be silent.
        progress_bytes: Bytes that an attempt must bring to reset the count of failures.
    """

    tries: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 60.0
    progress_bytes: int = 1 << 20


@dataclass(frozen=True)
class Web:
    """Settings of requests.

    Attributes:
        patience: Settings of retries.
        allow_http: Whether plain http is allowed with other machines.
        on_wait: Called with the reason for another attempt and when it will be made.
    """

    patience: Patience = Patience()
    allow_http: bool = False
    on_wait: Callable[[str], None] = lambda message: None


class TryAgainError(DownloadError):
    """A failure that may be temporary."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Reply:
    """A server's reply: 200 with the whole file, 206 with a part, or 416 without a body if the range is outside.

    Attributes:
        status: One of these three.
        start: Offset of the body in the file.
        total: Bytes of the whole file, if the server states it.
        validator: Identifier of this version of the file for `If-Range`, if there is one.
        chunks: The body; it ends early if the connection does.
    """

    status: int
    start: int
    total: int | None
    validator: str | None
    chunks: Iterator[bytes]


@contextmanager
def opened(url: str, web: Web, headers: Mapping[str, str]) -> Iterator[Reply]:
    """Request a file or a part of it.

    Args:
        url: The URL of the file.
        web: Settings of requests.
        headers: `Range` and `If-Range`, if wanted.

    Yields:
        The reply, whose body is still to be read; failures to read it raise the same errors.

    Raises:
        TryAgainError: If the failure may be temporary.
        DownloadError: If it is not: a URL that is not allowed, no such file, no permission.
    """
    asked = {"User-Agent": f"tomoseg/{__version__}", "Accept-Encoding": "identity", **headers}
    with _failures_told(url), _client(web) as client, client.stream("GET", url, headers=asked) as answer:
        yield _reply(answer, url)


def check_url(url: str, web: Web) -> None:
    """Check that a URL is https, or http if that is allowed.

    Raises:
        DownloadError: If it is not a URL, or its scheme is not allowed.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise DownloadError(f"{url}: expected a URL that begins with https://, got none; correct it")
    if parts.scheme == "https" or (parts.scheme == "http" and (web.allow_http or host in LOOPBACK)):
        return
    advice = "use https, or pass --allow-http" if parts.scheme == "http" else "use https"
    raise DownloadError(f"{url}: expected https, got {parts.scheme or 'nothing'}; {advice}")


def keep_trying(attempt: Callable[[], T], got: Callable[[], int], web: Web) -> T:
    """Repeat an attempt with increasing waits until it succeeds or has failed too often.

    Args:
        attempt: Function that may raise `TryAgainError`.
        got: Returns the number of bytes fetched so far, to see whether a failed attempt made progress.
        web: Settings of requests.

    Raises:
        DownloadError: If it failed too often in a row, or permanently.
    """
    patience, failures = web.patience, 0
    while True:
        before = got()
        try:
            return attempt()
        except TryAgainError as problem:
            failures = 1 if got() - before >= patience.progress_bytes else failures + 1
            if failures >= patience.tries:
                raise DownloadError(
                    f"{problem}, {failures} times in a row; check the connection and run the same command "
                    "again, which continues from here, or take another mirror with --url"
                ) from problem
            wait = min(max(patience.first_wait_s * 2 ** (failures - 1), problem.wait_s), patience.longest_wait_s)
            web.on_wait(f"{problem}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _client(web: Web) -> httpx.Client:
    """Make a client that follows redirects only to allowed URLs.

    Raises:
        DownloadError: If the environment names a proxy that cannot be used.
    """
    try:
        return httpx.Client(
            verify=ssl.create_default_context(),  # trusts the system's certificates, such as those of a hospital
            timeout=web.patience.timeout_s,
            mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK},
            follow_redirects=True,
            event_hooks={"request": [lambda request: check_url(str(request.url), web)]},
        )
    except (ValueError, ImportError) as problem:  # from the proxy settings
        raise DownloadError(
            f"expected a usable proxy, got: {problem}; correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"
        ) from None


@contextmanager
def _failures_told(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.LocalProtocolError, httpx.TooManyRedirects) as problem:
        raise DownloadError(f"{url}: expected a URL, got: {problem}; correct it") from None
    except httpx.TimeoutException:
        raise TryAgainError(f"{url}: expected an answer, got: none in time") from None
    except httpx.TransportError as problem:
        if (reason := why_untrusted(problem)) is not None:
            raise DownloadError(
                f"{url}: expected a trusted certificate, got: {reason}; "
                "check this machine's clock and certificates, or the URL"
            ) from None
        text = re.sub(r"^\[.*?\] | \(_ssl.*\)$", "", str(problem))
        raise TryAgainError(f"{url}: expected an answer, got: {text or type(problem).__name__}") from None


def _seconds(text: str | None) -> float:
    """Return the seconds that a server asks to wait; 0 for a date, since waits increase anyway."""
    return float(_number(text) or 0)


def _reply(answer: httpx.Response, url: str) -> Reply:
    status, headers = answer.status_code, answer.headers
    if status not in (200, 206, _RANGE_NOT_SATISFIABLE):
        message = f"{url}: expected the file, got: {status} {answer.reason_phrase}"
        if status in MAY_PASS:
            raise TryAgainError(message, _seconds(headers.get("Retry-After")))
        raise DownloadError(f"{message}; check the URL, or take another mirror with --url")
    validator, chunks = _validator(headers), _chunks(answer)
    if status == 200:
        if headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(
                f"{url}: expected the file without a content encoding, got it with one; take another mirror with --url"
            )
        return Reply(status, 0, _number(headers.get("Content-Length")), validator, chunks)
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = 0 if status == _RANGE_NOT_SATISFIABLE else _number(span.partition("-")[0])
    if start is None or (status == 206 and unit != "bytes"):
        raise DownloadError(
            f"{url}: expected the file or a part of it, got status {status} {rest!r}; take another mirror"
        )
    return Reply(status, start, _number(total), validator, chunks)


def _chunks(answer: httpx.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_raw()
    except httpx.RemoteProtocolError:
        return  # the connection ended; the caller notices that bytes are missing


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r" *[0-9]{1,18} *", text) else None


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return the strong entity tag, or else the date of the last change, if it can be sent in a header."""
    tag = headers.get("ETag", "")
    found = tag if tag.startswith('"') else headers.get("Last-Modified")
    return found if found is not None and found.isascii() else None
