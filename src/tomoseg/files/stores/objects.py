"""Listing, reading, writing and removing of objects in a store, with its errors as messages of tomoseg."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class BrokenError(Exception):
    """A broken connection or a busy store, after which a request may be repeated."""


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
            self._store: Any = kind(
                name,
                config=settings_of(scheme),
                client_options={"timeout": "120s", "connect_timeout": "10s", "allow_http": True},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
            )

    def find(self, place: Path) -> list[Entry]:
        """Return the object at a path, or else those below it; an empty list if there are none.

        Raises:
            InputError: If the store refuses, or a key is not valid as a path.
        """
        key = self._key(place)
        return again(lambda: self._find(place, key), f"{url_of(place)}: expected a list of objects")

    def _find(self, place: Path, key: str) -> list[Entry]:
        import obstore

        with self._told(url_of(place)):
            there = self._head(key) if key else None
            if there is not None and there["size"]:
                return [self._entry(there)]
            listed = obstore.list(self._store, prefix=f"{key}/" if key else None, chunk_size=1000)
            found = [self._entry(one) for some in listed for one in some if not one["path"].endswith("/")]
            if there is not None and not found:  # else it is the mark of a folder, which some programs write
                return [self._entry(there)]
            return sorted(found, key=lambda entry: entry.path.parts)

    def _head(self, key: str) -> Any:
        import obstore

        try:
            return obstore.head(self._store, key)
        except FileNotFoundError:
            return None

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
        import obstore

        def attempt() -> None:
            with self._told(url_of(path)), content.open("rb") as file:
                obstore.put(self._store, self._key(path), file, chunk_size=BLOCK_BYTES, max_concurrency=4)

        expected = f"{url_of(path)}: expected to write it"
        again(attempt, expected)
        entry = next((one for one in self.find(path) if one.path == path), None)
        if entry is None or entry.size != content.stat().st_size:
            raise InputError(f"{expected}, got something else there; another program writes to that place")
        os.utime(content, ns=(time.time_ns(), entry.stamp_ns))

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
        "timed out": "no answer in time",
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
    wait = _FIRST_WAIT_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except BrokenError as error:
            if attempt == ATTEMPTS:
                raise InputError(f"{expected}, got {error}, {ATTEMPTS} times; run the same command again") from None
        time.sleep(wait)
        wait *= 3
    raise AssertionError  # the last attempt returns or raises
