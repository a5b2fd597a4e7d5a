"""The web application: routers, the page's files, security headers and error responses."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tomoseg.errors import TomosegError
from tomoseg.limits import refusal
from tomoseg.server.refusals import answer_of
from tomoseg.version import __version__

API = "/api/v1"
"""Prefix of the routes of this version of the interface."""

PAGE = Path(__file__).parent / "page"
"""Folder of the page's built files, made from the folder `web`."""

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Headers of every response: the page loads nothing from elsewhere and cannot be framed."""


class SecurityHeaders:
    """Middleware that adds the headers of every response, unless a response sets them itself.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", ())}
                added = [
                    (name.encode(), text.encode())
                    for name, text in SECURITY_HEADERS.items()
                    if name.encode() not in own
                ]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, with_headers)


Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""Context manager that runs while an application is served."""


def create_app(
    routers: Sequence[APIRouter],
    page: Path | None = PAGE,
    lifespan: Lifespan | None = None,
    middleware: Sequence[Middleware] = (),
) -> FastAPI:
    """Create an application of some routers and the page.

    Args:
        routers: The routers; paths of the interface begin with `API`.
        page: The folder of the page's files, whose `index.html` is shown at `/`; None, or a missing folder, for none.
        lifespan: Context manager that runs while the application is served.
        middleware: Middleware of all requests, inside that of the security headers.

    Returns:
        The application.

    Example:
        >>> create_app([]).title
        'tomoseg'
    """
    app = FastAPI(
        title="tomoseg",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[Middleware(SecurityHeaders), *middleware],
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(TomosegError, _told)
    app.add_exception_handler(OSError, _told_of_system)
    app.add_exception_handler(sqlite3.OperationalError, _told_of_system)
    app.add_exception_handler(HTTPException, _told_of_http)
    app.add_exception_handler(MemoryError, _told_of_too_little)
    app.add_exception_handler(RuntimeError, _told_of_too_little)
    app.add_exception_handler(Exception, _told_of_fault)
    app.add_exception_handler(RequestValidationError, _told_of_validation)
    if page is not None and page.is_dir():
        app.mount("/", StaticFiles(directory=page, html=True), name="page")
    return app


async def _told(request: Request, error: Exception) -> JSONResponse:
    """Answer a refusal with its message."""
    status = getattr(error, "status", 400)
    headers = {"connection": "close"} if status == HTTPStatus.REQUEST_TIMEOUT else None  # the body is not read further
    return JSONResponse(answer_of(str(error)), status, headers)


async def _told_of_system(request: Request, error: Exception) -> JSONResponse:
    """Answer an operating system's error, such as a full disk, without paths of the server."""
    is_full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "full" in str(error)
    if is_full:
        text = "expected free space on the server's disk, got none; remove finished jobs, or free some space there"
        return JSONResponse(answer_of(text), HTTPStatus.INSUFFICIENT_STORAGE)
    got = getattr(error, "strerror", None) or error
    text = f"expected to write into the server's folder, got: {got}; check that folder"
    return JSONResponse(answer_of(text), HTTPStatus.SERVICE_UNAVAILABLE)


async def _told_of_too_little(request: Request, error: Exception) -> JSONResponse:
    """Answer that the server has no memory or no thread left.

    Raises:
        Exception: Any other error.
    """
    told = refusal(error)
    if told is None:
        raise error
    return JSONResponse(answer_of(told), HTTPStatus.SERVICE_UNAVAILABLE)


async def _told_of_fault(request: Request, error: Exception) -> JSONResponse:
    """Answer an unexpected error without its message, which may quote patient data."""
    text = f"expected no internal error, got {type(error).__name__}; please report it with the request"
    return JSONResponse(answer_of(text), HTTPStatus.INTERNAL_SERVER_ERROR, SECURITY_HEADERS)


async def _told_of_http(request: Request, error: Exception) -> JSONResponse:
    """Answer an unknown route or method with one sentence."""
    assert isinstance(error, HTTPException)
    text = f"expected a request as {API}/openapi.json describes it, got: {error.detail}; correct it"
    return JSONResponse(answer_of(text), error.status_code, error.headers)


async def _told_of_validation(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that does not fit the schema with one sentence."""
    assert isinstance(error, RequestValidationError)
    said = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3]]
    text = f"expected a request as {API}/openapi.json describes it, got: {'; '.join(said)}; correct it"
    return JSONResponse(answer_of(text), 422)
