"""Asking a server over HTTP: what may be opened, what is worth another try, and how long to wait for it.

Only https is spoken, to wherever a server redirects too; plain http with this machine itself, or where it is asked for.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import TypeVar
from urllib import error, request
from urllib.parse import urlsplit

from tomoseg.errors import DownloadError
from tomoseg.version import __version__

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""This machine itself: plain http is safe, and no proxy is asked."""

CHUNK = 1 << 18
"""Bytes read at once."""

_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
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
        on_wait: Told why there is another try and when.
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
        length: Bytes of the body, where the server says it.
        validator: What names this state of the file for `If-Range`, if there is anything that can.
        read: Read up to so many bytes of the body; nothing at its end.
    """

    status: int
    start: int
    total: int | None
    length: int | None
    validator: str | None
    read: Callable[[int], bytes]


@contextmanager
def opened(url: str, web: Web, headers: Mapping[str, str]) -> Iterator[Reply]:
    """Ask for a file or a part of it.

    Args:
        url: Of the file.
        web: How to ask.
        headers: `Range` and `If-Range`, where wanted.

    Yields:
        The reply, whose body is still to be read. What goes wrong in reading it is told as below.

    Raises:
        TryAgainError: If another try may help.
        DownloadError: If it will not: a URL that may not be opened, no such file, no permission.
    """
    check_url(url, web)
    asked = {"User-Agent": f"tomoseg/{__version__}", "Accept-Encoding": "identity", **headers}
    with _failures_told(url):
        answer = _answer(request.Request(url, headers=asked), web)

    def read(size: int) -> bytes:
        with _failures_told(url):
            return bytes(answer.read(size))

    with answer:
        yield _reply(answer.status or 0, answer.headers, read, url)


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


class _Redirects(request.HTTPRedirectHandler):
    """Follow a server only to where it was allowed to go in the first place."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def redirect_request(
        self, req: request.Request, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> request.Request | None:
        check_url(newurl, self._web)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _answer(asked: request.Request, web: Web) -> http.client.HTTPResponse | error.HTTPError:
    proxies = request.ProxyHandler({}) if urlsplit(asked.full_url).hostname in LOOPBACK else request.ProxyHandler()
    try:
        answer: http.client.HTTPResponse = request.build_opener(proxies, _Redirects(web)).open(
            asked, timeout=web.patience.timeout_s
        )
    except error.HTTPError as refused:
        if refused.code != _RANGE_NOT_SATISFIABLE:
            raise
        return refused
    return answer


@contextmanager
def _failures_told(url: str) -> Iterator[None]:
    try:
        yield
    except error.HTTPError as refused:
        refused.close()
        raise _refusal(refused, url) from None
    except (http.client.InvalidURL, ValueError) as problem:
        raise DownloadError(f"{url}: expected a URL, got: {problem}; correct it") from None
    except (OSError, http.client.HTTPException) as problem:
        reason = problem.reason if isinstance(problem, error.URLError) else problem
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{url}: expected a certificate that can be trusted, got: {reason.verify_message}; "
                "check this machine's clock and certificates, or the URL"
            ) from None
        raise TryAgainError(f"{url}: expected an answer, got: {_words(reason)}") from None


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "nothing for too long"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _refusal(refused: error.HTTPError, url: str) -> DownloadError:
    message = f"{url}: expected the file, got: {refused.code} {refused.reason}"
    if refused.code in _WORTH_ANOTHER_TRY:
        return TryAgainError(message, _seconds(refused.headers.get("Retry-After")))
    return DownloadError(f"{message}; check the URL, or take another mirror with --url")


def _seconds(text: str | None) -> float:
    """How long a server asks to wait; a date is not read, since the growing waits do as well."""
    return float(text) if text is not None and text.strip().isdecimal() else 0.0


def _reply(status: int, headers: Message, read: Callable[[int], bytes], url: str) -> Reply:
    length = _number(headers.get("Content-Length"))
    validator = _validator(headers)
    if status == 200:
        if headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError(f"{url}: expected the file as it is, got it encoded; take another mirror with --url")
        return Reply(status, 0, length, length, validator, read)
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start = _number(span.partition("-")[0])
    if status == _RANGE_NOT_SATISFIABLE:
        return Reply(status, 0, _number(total), 0, validator, read)
    if status != 206 or unit != "bytes" or start is None:
        raise DownloadError(f"{url}: expected the file or a part, got status {status} {rest!r}; take another mirror")
    return Reply(status, start, _number(total), length, validator, read)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


def _validator(headers: Message) -> str | None:
    """The strong entity tag, or else the date of the last change."""
    tag = headers.get("ETag")
    if tag is not None and tag.startswith('"'):
        return str(tag)
    modified = headers.get("Last-Modified")
    return None if modified is None else str(modified)
