"""Access control: a token if there is one, otherwise only names of this machine, and no page of another site.

There are no cookies, so a browser never authenticates by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from tomoseg.hosts import LOOPBACK
from tomoseg.server.app import API
from tomoseg.server.database import Database
from tomoseg.server.refusals import RefusalError, answer_of
from tomoseg.version import __version__

API_VERSION = 1
"""Version of the interface, raised when older clients would misunderstand responses."""

VERSION_HEADER = "tomoseg-api"
"""Header in which a client states the version that it was made for."""

_FACT = "token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def make_token(database: Database) -> str:
    """Create a token that replaces any other; only its digest is stored.

    Args:
        database: The database.
    """
    token = secrets.token_urlsafe(32)
    database.set_fact(_FACT, _digest(token))
    return token


def has_token(database: Database) -> bool:
    """Return True if there is a token.

    Args:
        database: The database.
    """
    return database.fact(_FACT) is not None


class Guard:
    """Middleware that passes requests on, or refuses them with one sentence.

    Args:
        app: The wrapped application.
        digest: Digest of the token; None if none is required.
        only_loopback: Whether to refuse host names other than this machine's loopback names, against DNS rebinding by
            pages of other sites.
    """

    def __init__(self, app: ASGIApp, digest: str | None, only_loopback: bool) -> None:
        self._app, self._digest, self._only_loopback = app, digest, only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            refusal = self._refusal(scope["method"], scope["path"], headers)
            if refusal is not None:
                await _answer(send, refusal)
                return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: Mapping[str, str]) -> RefusalError | None:
        return (
            self._of_name(headers)
            or _of_origin(method, headers)
            or _of_version(headers)
            or (self._of_token(headers) if needs_token(path) else None)
        )

    def _of_name(self, headers: Mapping[str, str]) -> RefusalError | None:
        name = urlsplit(f"//{headers.get('host', '')}").hostname
        if not self._only_loopback or name in LOOPBACK:
            return None
        text = "expected a request to 127.0.0.1 or localhost, got one to another name; use http://127.0.0.1:PORT/"
        return RefusalError(HTTPStatus.FORBIDDEN, text)

    def _of_token(self, headers: Mapping[str, str]) -> RefusalError | None:
        if self._digest is None:
            return None
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(_digest(token.strip()), self._digest):
            return None
        got = "another" if token else "none"
        text = (
            f"expected the token of this server, got {got}; send `Authorization: Bearer TOKEN` with the token that the "
            "server showed when it was first started, or have a new one made with `tomoseg serve --new-token`"
        )
        return RefusalError(HTTPStatus.UNAUTHORIZED, text)


_OPEN = ("/health", "/auth/", "/auth/token")
"""Paths that need no token besides the page's files; the last are how a client of MONAI Label sends it."""

_GUARDED = (
    f"{API}/",
    "/info/",
    "/infer/",
    "/session/",
    "/datastore/",
    "/activelearning/",
    "/train/",
    "/batch/",
    "/logs/",
    "/proxy/",
)


def needs_token(path: str) -> bool:
    """Return True if a path needs a token; the page's files are public in the package.

    Args:
        path: The path of a request.

    Example:
        >>> needs_token("/api/v1/jobs"), needs_token("/health"), needs_token("/assets/page.js")
        (True, False, False)
    """
    return path not in _OPEN and f"{path.rstrip('/')}/".startswith((*_GUARDED, "/auth/token/valid/"))


def _of_origin(method: str, headers: Mapping[str, str]) -> RefusalError | None:
    """Refuse requests of other sites' pages that change anything, whatever the browser allows."""
    origin = headers.get("origin")
    if origin is None or method in _SAFE_METHODS or urlsplit(origin).netloc == headers.get("host"):
        return None
    text = "expected a request from this server's own page, got one from another site; use the server's page"
    return RefusalError(HTTPStatus.FORBIDDEN, text)


def _of_version(headers: Mapping[str, str]) -> RefusalError | None:
    said = headers.get(VERSION_HEADER)
    if said is None or said == str(API_VERSION):
        return None
    text = (
        f"expected a client for interface {API_VERSION}, got one for {said[:20]!r}; install tomoseg "
        f"{__version__} there, as here"
    )
    return RefusalError(HTTPStatus.UPGRADE_REQUIRED, text)


async def _answer(send: Send, refusal: RefusalError) -> None:
    body = json.dumps(answer_of(str(refusal))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def token_digest(database: Database) -> str | None:
    """Return the digest of the token; None if there is none.

    Args:
        database: The database.
    """
    return database.fact(_FACT)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(token: str, digest: str) -> bool:
    """Return True if a token is the server's.

    Args:
        token: The token of a request.
        digest: Digest of the server's token.
    """
    return hmac.compare_digest(_digest(token), digest)
