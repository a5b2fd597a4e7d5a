"""Listing, reading, writing and removing of objects in a store, with its errors as messages of tomoseg."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from tomoseg.errors import InputError
from tomoseg.files.http_status import MAY_PASS
from tomoseg.files.stores.addresses import url_of
from tomoseg.files.stores.credentials import ADVICE, settings_of
from tomoseg.packages import require_installed

BLOCK_BYTES = 8 * 2**20
"""Bytes requested at a time; after a broken connection only the current block is requested again."""

ATTEMPTS = 5

SILENT_ATTEMPTS = 3
"""Attempts after which a store that does not answer at all is given up: after about a minute."""

SILENT_SECONDS = 20.0
"""Seconds in which a store must begin to answer, and send more of an answer."""

CONNECT_SECONDS = 10.0

SLOWEST_BYTES = 8_000
"""Bytes a second of the slowest upload that is waited for, as long as the store answers other requests."""

_LONGEST_SECONDS = 24 * 3600.0
"""For one request, however slowly its answer comes; there is no way to leave it open."""

_STATUS = re.compile(r"status code: (\d{3})")

_FIRST_WAIT_SECONDS = 0.2

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Entry:
    """An object in the listing of a store.

    Attributes:
        path: Its file in the cache.
        size: Size in bytes.
        modified: Time of its last modification.
        tag: Its entity tag; empty without one.
    """

    path: Path
    size: int
    modified: datetime
    tag: str

    @property
    def stamp_ns(self) -> int:
        """Time of its file in ns: the object's own in seconds, with a hash of the tag as the fraction."""
        state = int.from_bytes(sha256(self.tag.encode()).digest()[:6], "big") % 10_000_000
        return int(self.modified.timestamp()) * 10**9 + state * 100


NO_ANSWER = "no answer in time"


class BrokenError(Exception):
    """A broken connection or a busy store, after which a request may be repeated.

    Args:
        reason: What was got instead of an answer.
        is_silent: Whether nothing came for so long that only a few such attempts are made.
    """

    def __init__(self, reason: str, *, is_silent: bool = False) -> None:
        super().__init__(reason)
        self.is_silent = is_silent


@runtime_checkable
class Store(Protocol):
    """Read access to a store."""

    def find(self, place: Path) -> list[Entry]:
        """Return the object at a path, or else those below it.

        Raises:
            InputError: If the store refuses.
        """
        ...

    def block(self, entry: Entry, start: int, length: int) -> bytes:
        """Read a part of an object.

        Raises:
            InputError: If the store refuses, or the object has changed.
            BrokenError: If the request may be repeated.
        """
        ...


def bucket_of(place: Path) -> Bucket:
    """Return the bucket of a path, to which objects can also be written.

    Raises:
        ConfigError: If a package is not installed.
        InputError: If the settings of the store are invalid.
    """
    scheme, _, rest = url_of(place).partition("://")
    return _bucket(scheme, rest.split("/")[0])


@cache
def _bucket(scheme: str, name: str) -> Bucket:
    return Bucket(scheme, name)


class Bucket:
    """A bucket of S3 or a compatible store, or of Google Cloud Storage.

    Args:
        scheme: `s3` or `gs`.
        name: The name of the bucket.

    Raises:
        ConfigError: If the package is not installed.
        InputError: If the settings in the environment are invalid.
    """

    def __init__(self, scheme: str, name: str) -> None:
        require_installed("obstore")
        from obstore.store import GCSStore, S3Store

        self._scheme, self._name = scheme, name
        kind: Any = S3Store if scheme == "s3" else GCSStore
        with self._told(f"{scheme}://{name}"):
            self._store: Any = self._made(kind, {"read_timeout": timedelta(seconds=SILENT_SECONDS)})
            # obstore counts that limit from the beginning of an upload, however well it flows
            self._to_write: Any = self._made(kind, {})

    def _made(self, kind: Any, options: dict[str, Any]) -> Any:
        """Make a client that repeats a request itself only if its failure came fast, as that of a busy store."""
        limits = {
            "timeout": timedelta(seconds=_LONGEST_SECONDS),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        }
        return kind(
            self._name,
            config=settings_of(self._scheme),
            client_options={"allow_http": True, **limits, **options},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=min(SILENT_SECONDS, CONNECT_SECONDS))},
        )

    def find(self, place: Path) -> list[Entry]:
        """Return the object at a path, or else those below it; an empty list if there are none.

        Raises:
            InputError: If the store refuses, or a key is not valid as a path.
        """
        key = self._key(place)
        return again(lambda: self._find(place, key), f"{url_of(place)}: expected a list of objects")

    def _find(self, place: Path, key: str) -> list[Entry]:
        with self._told(url_of(place)):
            there, listed = asyncio.run(self._look(key))  # which Ctrl-C ends at once
            if there is not None and there["size"]:
                return [self._entry(there)]
            found = [self._entry(one) for one in listed if not one["path"].endswith("/")]
            if there is not None and not found:  # else it is the mark of a folder, which some programs write
                return [self._entry(there)]
            return sorted(found, key=lambda entry: entry.path.parts)

    async def _look(self, key: str) -> tuple[Any, list[Any]]:
        """Return what is known of an object; if it is missing or empty, also the listing below its key."""
        import obstore

        there: Any = None
        if key:
            with suppress(FileNotFoundError):
                there = await obstore.head_async(self._store, key)
        if there is not None and there["size"]:
            return there, []
        listed = obstore.list(self._store, prefix=f"{key}/" if key else None, chunk_size=1000)
        return there, [one async for some in listed for one in some]

    def _entry(self, listed: Any) -> Entry:
        from tomoseg.files.stores.addresses import place_of

        path = place_of(f"{self._scheme}://{self._name}/{listed['path']}")
        return Entry(path, listed["size"], listed["last_modified"], listed["e_tag"] or "")

    def block(self, entry: Entry, start: int, length: int) -> bytes:
        """Read a part of an object.

        Raises:
            InputError: If the store refuses, or the object has changed.
            BrokenError: If the request may be repeated.
        """
        import obstore

        options: Any = {"range": (start, start + length)} | ({"if_match": entry.tag} if entry.tag else {})
        with self._told(url_of(entry.path)):
            return bytes(obstore.get(self._store, self._key(entry.path), options=options).bytes())

    def put(self, path: Path, content: Path) -> None:
        """Write a file as the object of a path in the cache, atomically.

        The file gets the time that identifies the object's version, so that it need not be fetched again.

        Raises:
            InputError: If the store refuses, or cannot be reached.
        """

        def attempt() -> None:
            with self._told(url_of(path)):
                asyncio.run(self._send(self._key(path), content))

        expected = f"{url_of(path)}: expected to write it"
        again(attempt, expected)
        entry = next((one for one in self.find(path) if one.path == path), None)
        if entry is None or entry.size != content.stat().st_size:
            raise InputError(f"{expected}, got something else there; another program writes to that place")
        os.utime(content, ns=(time.time_ns(), entry.stamp_ns))

    async def _send(self, key: str, content: Path) -> None:
        """Upload a file for as long as the store answers other requests meanwhile.

        Raises:
            TimeoutError: If the upload takes longer than the slowest that is waited for.
        """
        import obstore
        from obstore.exceptions import PermissionDeniedError

        with content.open("rb") as file:
            limit = SILENT_SECONDS + content.stat().st_size / SLOWEST_BYTES
            async with asyncio.timeout(limit):
                options: Any = {"chunk_size": BLOCK_BYTES, "max_concurrency": 4}
                sending = asyncio.ensure_future(obstore.put_async(self._to_write, key, file, **options))
                try:
                    while not (await asyncio.wait({sending}, timeout=SILENT_SECONDS))[0]:
                        with suppress(FileNotFoundError, PermissionDeniedError):  # which are answers
                            await obstore.head_async(self._store, key)
                finally:
                    sending.cancel()
                await sending

    def remove(self, path: Path) -> None:
        """Remove the object of a path, if it exists.

        Raises:
            InputError: If the store refuses, or cannot be reached.
        """
        import obstore

        def attempt() -> None:
            with self._told(url_of(path)):
                try:
                    obstore.delete(self._store, self._key(path))
                except FileNotFoundError:
                    return

        again(attempt, f"{url_of(path)}: expected to remove it")

    def _key(self, path: Path) -> str:
        return url_of(path).partition("://")[2].partition("/")[2]

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        """Turn the store's errors, which may hold secrets, into our own.

        Raises:
            InputError: If repeating the request is of no use.
            BrokenError: If the request may be repeated.
        """
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise InputError(f"{url}: expected the bucket and the object, found none; check the names") from None
        except (BaseError, ValueError, OSError) as error:
            told = _sentence(url, self._scheme, error)
            raise told from None


def _sentence(url: str, scheme: str, error: Exception) -> InputError | BrokenError:
    """Return our own error for an error of the store."""
    kind, text = type(error).__name__, str(error).lower()
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    if (refusal := _refusal(scheme, kind, text.partition("debug source")[0], status)) is not None:
        return InputError(f"{url}: {refusal}")
    if "invalidcertificate" in text:
        return not_trusted(url)
    if isinstance(error, TimeoutError) or "kind: timeout" in text:
        return BrokenError(NO_ANSWER, is_silent=True)
    if kind == "GenericError" and (not 400 <= status < 500 or status in MAY_PASS):
        return BrokenError(_reason(text))
    return InputError(f"{url}: expected a usable store, got {status or kind}; check the URL and settings")


def _refusal(scheme: str, kind: str, said: str, status: int) -> str | None:
    """Return the message for a permanent error; None if it is not recognised as one."""
    may_not = kind in {"PermissionDeniedError", "UnauthenticatedError"} or status in {401, 403}
    elsewhere = "permanentredirect" in said or "301 moved" in said
    known = {
        "expected the object that was listed, got a newer one; run the same command again": kind == "PreconditionError",
        f"expected credentials, found none that the store accepts; {ADVICE[scheme]}": _is_about_credentials(said),
        f"expected to be allowed to use it, got a refusal; ask the bucket's owner, or {ADVICE[scheme]}": may_not,
        "expected the bucket, found none of that name; check it": "nosuchbucket" in said,
        "expected a bucket in this region, got one in another; set AWS_REGION to the bucket's region": elsewhere,
    }
    return next((words for words, is_so in known.items() if is_so), None)


def not_trusted(url: str) -> InputError:
    """Return the error for a server whose certificate is not trusted by this machine."""
    return InputError(
        f"{url}: expected a server with a certificate that this machine trusts, got another; set SSL_CERT_FILE to the "
        f"file of the authority that signed it"
    )


def _is_about_credentials(said: str) -> bool:
    asked_of_the_machine = ("169.254", "/latest/api/token", "/latest/meta-data", "metadata.google", "token request")
    unusable = ("service account file", "credential error", "missing accesskeyid", "missing secretaccesskey")
    refused = ("invalidaccesskeyid", "signaturedoesnotmatch", "expiredtoken", "invalidtoken")
    return any(word in said for word in (*asked_of_the_machine, *unusable, *refused))


def _reason(said: str) -> str:
    """Return the reason of a broken connection, without details of the request."""
    known = {
        "connection refused": "connection refused",
        "dns error": "no such server",
    }
    return next((words for word, words in known.items() if word in said), "a broken connection")


def again(ask: Callable[[], Answer], expected: str) -> Answer:
    """Make a request, repeatedly if connections break.

    Args:
        ask: Function that makes the request and raises `BrokenError` if it may be repeated.
        expected: First part of the message if it never succeeds.

    Raises:
        InputError: If it never succeeds.
        AssertionError: Never.
    """
    wait, silent = _FIRST_WAIT_SECONDS, 0
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except BrokenError as error:
            silent += error.is_silent
            if attempt == ATTEMPTS or silent == SILENT_ATTEMPTS:
                raise InputError(
                    f"{expected}, got {error}, {attempt} times; check the address and the connection, then run the "
                    "same command again"
                ) from None
        time.sleep(wait)
        wait *= 3
    raise AssertionError  # the last attempt returns or raises
