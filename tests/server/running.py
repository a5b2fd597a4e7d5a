"""A real server on a free port, for tests, and what its clients do."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

ENDS = {"done", "failed", "cancelled", "expired"}


@contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of an application that uvicorn serves meanwhile."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server ended before it listened"
                time.sleep(0.01)
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=150) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def started(folder, models, **settings) -> Iterator[httpx.Client]:
    """A client of a server with its workers."""
    from tomoseg.server.offers import offers_of
    from tomoseg.server.serving import ServerSettings, make_app

    with served(make_app(ServerSettings(folder, offers_of(models), **settings), page=None)) as client:
        yield client


def send(client, *files):
    """Upload files, each a name and its bytes; returns the id."""
    answer = client.post("/api/v1/uploads", files=[("file", file) for file in files])
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def make_job(client, *uploads, **options):
    """Make a job; returns it."""
    answer = client.post("/api/v1/jobs", json={"uploads": list(uploads), "options": options})
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def ended(client, job, seconds=120):
    """A job once it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = client.get(f"/api/v1/jobs/{job}").json()
        if found["state"] in ENDS:
            return found
        time.sleep(0.05)
    raise AssertionError(f"still {found['state']}")
