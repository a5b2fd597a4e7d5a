"""Asking a server over HTTP: what may be opened, what is worth another try, and how long to wait for it.

Only https is spoken, to wherever a server redirects too; plain http with this machine itself, or where it is asked for.

httpx speaks it. Waiting and trying again are written here, since a failure that brought new bytes begins a new row.
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
from tomoseg.http_status import MAY_PASS
from tomoseg.version import __version__

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""This machine itself: plain http is safe, and no proxy is asked."""

CHUNK = 1 << 18
"""Bytes read at once."""

_RANGE_NOT_SATISFIABLE = 416

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often a server is asked again.

    Attributes:
        tries: Failures in a row until it is given up.
        first_wait_s: Before the second try; every further wait is twice as long.
        longest_wait_s: No wait is longer, whatever the server asks for.
        timeout_s: How long a connection may be silent.
        progress_bytes: A try that brought as much begins a new row.
    """

    tries: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    timeout_s: float = 60.0
    progress_bytes: int = 1 << 20


@dataclass(frozen=True)
class Web:
    """How servers are asked.

    Attributes:
        patience: How often.
        allow_http: Whether plain http is spoken with other machines.
        on_wait: Called with the reason for another attempt and when it will be made.
    """

    patience: Patience = Patience()
    allow_http: bool = False
    on_wait: Callable[[str], None] = lambda message: None


class TryAgainError(DownloadError):
    """A failure that another try may get over."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Reply:
    """What a server answers: 200 with all, 206 with a part, or 416 with nothing, since the range lies outside.

    Attributes:
        status: One of the three.
        start: Where in the file the body begins.
        total: Bytes of the whole file, where the server says it.
        validator: What names this state of the file for `If-Range`, if there is anything that can.
        chunks: The body; it ends early where the connection does.
    """

    status: int
    start: int
    total: int | None
    validator: str | None
    chunks: Iterator[bytes]


@contextmanager
def opened(url: str, web: Web, headers: Mapping[str, str]) -> Iterator[Reply]:
    """Ask for a file or a part of it.

    Args:
        url: The URL of the file.
        web: How to ask.
        headers: `Range` and `If-Range`, where wanted.

    Yields:
        The reply, whose body is still to be read. What goes wrong in reading it is told as below.

    Raises:
        TryAgainError: If another try may help.
        DownloadError: If it will not: a URL that may not be opened, no such file, no permission.
    """
    asked = {"User-Agent": f"tomoseg/{__version__}", "Accept-Encoding": "identity", **headers}
    with _failures_told(url), _client(web) as client, client.stream("GET", url, headers=asked) as answer:
        yield _reply(answer, url)


def check_url(url: str, web: Web) -> None:
    """Refuse what is not https.

    Raises:
        DownloadError: If the URL is none, or its scheme may not be used.
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
    advice = "take https, or pass --allow-http" if parts.scheme == "http" else "take https"
    raise DownloadError(f"{url}: expected https, got {parts.scheme or 'nothing'}; {advice}")


def keep_trying(attempt: Callable[[], T], got: Callable[[], int], web: Web) -> T:
    """Try until it works, with longer and longer waits, or until the patience is at its end.

    Args:
        attempt: What may raise `TryAgainError`.
        got: How many bytes there are, to see whether a failed try was of use.
        web: How often, and who is told.

    Raises:
        DownloadError: If it failed too often in a row, or in a way that does not pass.
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
                    f"{problem}, {failures} times in a row; check the connection and run the same command again, "
                    "which goes on from here, or take another mirror with --url"
                ) from problem
            wait = min(max(patience.first_wait_s * 2 ** (failures - 1), problem.wait_s), patience.longest_wait_s)
            web.on_wait(f"{problem}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _client(web: Web) -> httpx.Client:
    """What follows a server only to where it was allowed to go in the first place.

    Raises:
        DownloadError: If this machine's settings name a proxy that cannot be used.
    """
    try:
        return httpx.Client(
            verify=ssl.create_default_context(),  # trusts what this machine trusts, a hospital's own authority say
            timeout=web.patience.timeout_s,
            mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK},
            follow_redirects=True,
            event_hooks={"request": [lambda request: check_url(str(request.url), web)]},
        )
    except (ValueError, ImportError) as problem:  # of the settings that name a proxy
        raise DownloadError(
            f"expected a proxy that can be used, got: {problem}; correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"
        ) from None


@contextmanager
def _failures_told(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.LocalProtocolError, httpx.TooManyRedirects) as problem:
        raise DownloadError(f"{url}: expected a URL, got: {problem}; correct it") from None
    except httpx.TimeoutException:
        raise TryAgainError(f"{url}: expected an answer, got: nothing for too long") from None
    except httpx.TransportError as problem:
        text = re.sub(r"^\[.*?\] (certificate verify failed: )?| \(_ssl.*\)$", "", str(problem))
        if "CERTIFICATE_VERIFY_FAILED" in str(problem):
            raise DownloadError(
                f"{url}: expected a certificate that can be trusted, got: {text}; "
                "check this machine's clock and certificates, or the URL"
            ) from None
        raise TryAgainError(f"{url}: expected an answer, got: {text or type(problem).__name__}") from None


def _seconds(text: str | None) -> float:
    """How long a server asks to wait; a date is not read, since the growing waits do as well."""
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
            raise DownloadError(f"{url}: expected the file as it is, got it encoded; take another mirror with --url")
        return Reply(status, 0, _number(headers.get("Content-Length")), validator, chunks)
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = 0 if status == _RANGE_NOT_SATISFIABLE else _number(span.partition("-")[0])
    if start is None or (status == 206 and unit != "bytes"):
        raise DownloadError(f"{url}: expected the file or a part, got status {status} {rest!r}; take another mirror")
    return Reply(status, start, _number(total), validator, chunks)


def _chunks(answer: httpx.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_raw()
    except httpx.RemoteProtocolError:
        return  # the connection ended; whoever counts the bytes sees that some are missing


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r" *[0-9]{1,18} *", text) else None


def _validator(headers: Mapping[str, str]) -> str | None:
    """The strong entity tag, or else the date of the last change; no text that could not be sent back."""
    tag = headers.get("ETag", "")
    found = tag if tag.startswith('"') else headers.get("Last-Modified")
    return found if found is not None and found.isascii() else None
