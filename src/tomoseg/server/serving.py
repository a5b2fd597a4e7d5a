"""Running the server: locking its folder, binding its address, starting workers, serving the application."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import uvicorn
from anyio import to_thread
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from tomoseg.errors import ConfigError
from tomoseg.files.atomic import errors_told
from tomoseg.server import (
    correction_routes,
    dicomweb_routes,
    info_routes,
    job_routes,
    monai_routes,
    review_routes,
    train_routes,
    upload_routes,
)
from tomoseg.server.app import PAGE, create_app
from tomoseg.server.connections import MOST_CONNECTIONS, ImpatientProtocol, Patience, log_no_values
from tomoseg.server.database import NAME
from tomoseg.server.dicomweb import Pacs
from tomoseg.server.guard import Guard, token_digest
from tomoseg.server.offers import Offer
from tomoseg.server.service import Service
from tomoseg.server.supervisor import Supervisor
from tomoseg.server.trainer import TRAINING, Learning
from tomoseg.server.uploads import Rules
from tomoseg.server.worker import JOBS, UPLOADS, WorkerSettings

_ROUTES = (
    info_routes,
    upload_routes,
    job_routes,
    correction_routes,
    monai_routes,
    review_routes,
    dicomweb_routes,
    train_routes,
)
ROUTERS: tuple[APIRouter, ...] = tuple(one.router for one in _ROUTES)

LOCK = "lock"


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Attributes:
        folder: Folder of uploads, jobs and results.
        offers: Models by name, the default first.
        rules: Limits of the server.
        workers: Number of processes that segment; one more checks uploads.
        compute: Chosen settings of `Compute`.
        asks_for_token: Whether requests need a token.
        only_loopback: Whether only loopback names of this machine are accepted.
        is_loud: Whether the workers' output is shown.
        learning: Settings of training for clients.
        dicomweb: URL of the DICOMweb that series are fetched from.
    """

    folder: Path
    offers: Mapping[str, Offer]
    rules: Rules = field(default_factory=Rules)
    workers: int = 1
    compute: Mapping[str, Any] = field(default_factory=dict)
    asks_for_token: bool = False
    only_loopback: bool = True
    is_loud: bool = False
    learning: Learning = field(default_factory=Learning)
    dicomweb: str | None = None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder for this process during the block; the system releases it if the process dies.

    Args:
        folder: The folder of the server.

    Raises:
        ConfigError: If another server has locked it.
        OutputError: If it cannot be written into.
    """
    with errors_told(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / LOCK).open("ab")
    with lock:
        try:
            _lock(lock)
        except OSError:
            text = "expected a folder that no server uses, got one in use; give another --folder, or stop that server"
            raise ConfigError(f"{folder}: {text}") from None
        yield


def check_own(folder: Path) -> None:
    """Check that a folder is new or a server's, since a server removes what it does not know in its subfolders.

    Args:
        folder: The folder of the server.

    Raises:
        ConfigError: If it has such subfolders, and no database of jobs.
    """
    others = [name for name in (UPLOADS, JOBS, TRAINING) if (folder / name).exists()]
    if others and not (folder / NAME).exists():
        raise ConfigError(
            f"{folder}: expected a new folder, or one of a server with {NAME}, got one with {', '.join(others)} that "
            "no server made; give another --folder"
        )


def _lock(file: IO[bytes]) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Left:
    """What a server leaves unfinished when it stops.

    Attributes:
        jobs: How many jobs the next start continues with.
        training: Whether a training was stopped, which no start continues.
    """

    jobs: int
    training: bool


def make_app(settings: ServerSettings, routers: Sequence[APIRouter] = (), page: Path | None = PAGE) -> FastAPI:
    """Create the application, whose workers run while it is served.

    Args:
        settings: Settings of the server.
        routers: Further routers.
        page: The folder of the page's files.
    """
    offers = dict(settings.offers)
    pacs = None if settings.dicomweb is None else Pacs(settings.dicomweb)
    service = Service(settings.folder, offers, settings.rules, settings.asks_for_token, settings.learning, pacs)
    supervisor = Supervisor(service.jobs, service.uploads, settings.rules, _workers(settings), settings.is_loud)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await to_thread.run_sync(int)  # requests are answered in threads: without one, it ends now
            supervisor.start()
        except Exception as error:
            app.state.refused = error
            service.database.close()
            raise
        service.trainer.recall()
        try:
            async with service.watch.running():
                yield
        finally:
            training = service.trainer.stop()
            supervisor.stop()
            app.state.left = Left(len(service.jobs.standings()), training is not None)
            if pacs is not None:
                await pacs.close()
            service.database.close()

    digest = token_digest(service.database) if settings.asks_for_token else None
    guard = Middleware(Guard, digest=digest, only_loopback=settings.only_loopback)
    app = create_app((*ROUTERS, *routers), page, lifespan, [guard, Middleware(Patience)])
    app.state.service = service
    return app


def _workers(settings: ServerSettings) -> list[WorkerSettings]:
    folder = str(settings.folder.absolute())
    models = {name: str(one.folder) for name, one in settings.offers.items()}
    looks = WorkerSettings(folder, "", "check")
    overlaps = settings.workers == 1 and settings.rules.job_memory_bytes is None
    segments = WorkerSettings(folder, "", "segment", models, dict(settings.compute), overlaps)
    return [looks, *[segments] * settings.workers]


def serve(app: FastAPI, listening: socket.socket, on_ready: Callable[[], None] = lambda: None) -> Left:
    """Serve an application until the process is told to stop, and return what is unfinished.

    Args:
        app: The application.
        listening: The listening socket.
        on_ready: Called once it is ready.

    Raises:
        Exception: What its start failed with.
        SystemExit: If uvicorn cannot start for another reason.
    """
    log_no_values()
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=3,
    )
    server = _Server(config, on_ready)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run([listening])
    except SystemExit:  # uvicorn has logged the error, and ends the process
        refused: Exception | None = getattr(app.state, "refused", None)
        if refused is None:
            raise
        raise refused from None
    left: Left = getattr(app.state, "left", Left(0, False))
    return left


@contextmanager
def private_files() -> Iterator[None]:
    """Make files written in the block, also by child processes, accessible to the user only."""
    former = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(former)


class _Server(uvicorn.Server):
    """A uvicorn server with a callback.

    Args:
        config: Configuration of uvicorn.
        on_ready: Called once it is ready.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()
