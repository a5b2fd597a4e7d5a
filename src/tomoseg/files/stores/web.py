"""Single files on a web server, which can send parts of a file but no listing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from tomoseg.errors import InputError
from tomoseg.files.http_status import MAY_PASS, why_untrusted
from tomoseg.files.stores.addresses import in_full, url_of
from tomoseg.files.stores.objects import (
    CONNECT_SECONDS,
    NO_ANSWER,
    SILENT_SECONDS,
    BrokenError,
    Entry,
    again,
    not_trusted,
)

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Web:
    """Any web server."""

    def find(self, place: Path) -> list[Entry]:
        """Return the file at a path.

        Raises:
            InputError: If the server refuses, has no such file, or does not state its size.
        """
        return [again(lambda: self._look(place), f"{url_of(place)}: expected the file")]

    def _look(self, place: Path) -> Entry:
        """Request the first byte, since signed URLs are signed for GET only.

        Raises:
            InputError: If the server does not state the size of the file.
        """
        url = url_of(place)
        with _asked(url, {"Range": "bytes=0-0"}) as reply:
            size = reply.headers.get("Content-Range", "").rpartition("/")[2] or reply.headers.get("Content-Length", "")
            if not size.isdigit():
                raise InputError(
                    f"{url}: expected a server that says how large the file is, got one that does not; download it "
                    "first"
                )
            tag = reply.headers.get("ETag", "")
            return Entry(place, int(size), _time(reply.headers.get("Last-Modified")), tag)

    def block(self, entry: Entry, start: int, length: int) -> bytes:
        """Read a part of a file.

        Raises:
            InputError: If the server refuses, or the file has changed.
            BrokenError: If the request may be repeated.
        """
        url = url_of(entry.path)
        with _asked(url, {"Range": f"bytes={start}-{start + length - 1}"}) as reply:
            if entry.tag and reply.headers.get("ETag", "") not in {"", entry.tag}:
                raise InputError(f"{url}: expected the unchanged file, got a newer one; run the same command again")
            from_there = reply.status_code == 206
            found = bytearray()
            skipped = 0 if from_there else start
            for chunk in reply.iter_raw():
                found += chunk[skipped:]
                skipped = max(0, skipped - len(chunk))
                if len(found) >= length:
                    break
            return bytes(found[:length])


def _time(text: str | None) -> datetime:
    try:
        return parsedate_to_datetime(text) if text else _NEVER
    except ValueError:
        return _NEVER


@contextmanager
def _asked(url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """Make a request; the server's errors, which may hold secrets, become our own.

    Raises:
        InputError: If it refuses.
        BrokenError: If the request may be repeated.
    """
    plain = {"Accept-Encoding": "identity", **headers}
    limits = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
    try:
        with httpx.stream("GET", in_full(url), headers=plain, timeout=limits, follow_redirects=True) as reply:
            if reply.status_code in MAY_PASS:
                raise BrokenError(f"HTTP status {reply.status_code}")
            is_empty = reply.status_code == 416 and reply.headers.get("Content-Range", "").endswith("/0")
            if reply.status_code not in {200, 206} and not is_empty:
                raise InputError(f"{url}: expected the file, got HTTP status {reply.status_code}; {_advice(reply)}")
            yield reply
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if (reason := why_untrusted(error)) is not None:
            told: InputError = _untrusted(url, reason)
            raise told from None
        if isinstance(error, httpx.TimeoutException):
            raise BrokenError(NO_ANSWER, is_silent=True) from None
        raise BrokenError(_broken(error)) from None


def _untrusted(url: str, reason: str) -> InputError:
    if "issuer" in reason or "self-signed" in reason or "self signed" in reason:
        return not_trusted(url)
    return InputError(
        f"{url}: expected a trusted certificate, got: {reason}; check this machine's clock and certificates, or the URL"
    )


def _broken(error: Exception) -> str:
    return {"ConnectError": "no such server, or connection refused"}.get(type(error).__name__, "a broken connection")


def _advice(reply: httpx.Response) -> str:
    if reply.status_code in {401, 403}:
        return "check that you may read it, and that a signed address has not expired"
    return "check the address"
