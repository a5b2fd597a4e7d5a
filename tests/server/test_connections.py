"""The server from outside: what waits for ever, looks elsewhere, or would have values written to a log."""

import contextlib
import logging
import os
import re
import socket
import stat
import sys
import threading
import time

import pytest
import uvicorn
from fastapi import APIRouter
from fastapi.routing import APIRoute

from tests.server.conftest import write_scan
from tests.server.running import ended, make_job, send, started
from tomoseg.server import connections, watching
from tomoseg.server.app import create_app
from tomoseg.server.connections import ImpatientProtocol, WithoutValues
from tomoseg.server.guard import needs_token
from tomoseg.server.serving import ROUTERS, private_files


@contextlib.contextmanager
def address_of(app, **settings):
    """Where uvicorn serves an application with our protocol."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=ImpatientProtocol, log_config=None, timeout_graceful_shutdown=1, **settings)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join(10)


def app():
    router = APIRouter()
    router.add_api_route("/health", lambda: "in")
    return create_app([router], None)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HTTP/1.1\r\nhost: 127",
        b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET /health HTTP/1.1\r\nx: ",
    ],
)
def test_a_connection_that_says_nothing_more_is_closed(monkeypatch, sent):
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.3)
    with address_of(app(), timeout_keep_alive=60) as address, socket.create_connection(address, timeout=30) as client:
        client.sendall(sent)
        heard = b""
        while piece := client.recv(4096):  # ends once it is closed
            heard += piece
        assert heard.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n")


def test_one_that_asks_now_and_then_is_not(monkeypatch):
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.5)
    with address_of(app(), timeout_keep_alive=60) as address, socket.create_connection(address, timeout=30) as client:
        for _ in range(8):
            client.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            time.sleep(0.2)
        heard = b""
        while piece := client.recv(4096):  # an answer may come in pieces; ends once nothing more is asked
            heard += piece
        assert heard.count(b"HTTP/1.1 200 OK") == 8


def trickled(server, head, pieces, seconds):
    """What the server answers to a body that comes piece by piece."""
    with socket.create_connection((server.base_url.host, server.base_url.port), timeout=30) as client:
        client.sendall(head.replace("\n", "\r\n").encode())
        with contextlib.suppress(OSError):  # it may be closed meanwhile
            for piece in pieces:
                client.sendall(piece)
                time.sleep(seconds)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):  # ends once it is closed
                heard += piece
        return heard


def test_a_body_that_trickles_in_is_not_waited_for_and_tus_keeps_what_came(server, monkeypatch):
    monkeypatch.setattr(connections, "SLOW_SECONDS", 0.4)
    monkeypatch.setattr(connections, "FEWEST_BYTES", 100)
    head = (
        "POST /api/v1/uploads HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 5000\n"
        "content-type: multipart/form-data; boundary=b\n\n"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    before = server.get("/api/v1/info").json()["limits"]["used_bytes"]
    heard = trickled(server, head, [part, *[b"x"] * 20], 0.1)
    assert heard.startswith(b"HTTP/1.1 408")
    assert b"expected at least 100 bytes in 0.4 seconds, got fewer" in heard
    assert server.get("/api/v1/info").json()["limits"]["used_bytes"] == before

    tus = {"tus-resumable": "1.0.0", "upload-length": "5000"}
    upload = server.post("/api/v1/tus/", headers=tus).headers["location"]
    head = (
        f"PATCH /api/v1/tus/{upload} HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 5000\ntus-resumable: 1.0.0\n"
        "upload-offset: 0\ncontent-type: application/offset+octet-stream\n\n"
    )
    heard = trickled(server, head, [b"x" * 200, *[b"x"] * 20], 0.1)
    assert heard.startswith(b"HTTP/1.1 408")
    assert 200 <= int(server.head(f"/api/v1/tus/{upload}", headers=tus).headers["upload-offset"]) <= 220


def test_a_body_that_comes_steadily_and_a_stream_of_events_are_waited_for(server, monkeypatch):
    monkeypatch.setattr(connections, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(connections, "FEWEST_BYTES", 100)
    tus = {"tus-resumable": "1.0.0", "upload-length": "1000"}
    upload = server.post("/api/v1/tus/", headers=tus).headers["location"]
    head = (
        f"PATCH /api/v1/tus/{upload} HTTP/1.1\nhost: 127.0.0.1\ncontent-length: 1000\ntus-resumable: 1.0.0\n"
        "upload-offset: 0\ncontent-type: application/offset+octet-stream\nconnection: close\n\n"
    )
    assert trickled(server, head, [b"x" * 100] * 10, 0.06).startswith(b"HTTP/1.1 204")


def test_more_connections_than_that_are_told_so():
    with address_of(app(), limit_concurrency=3) as address, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(4)]
        time.sleep(0.2)
        clients[-1].sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert clients[-1].recv(4096).startswith(b"HTTP/1.1 503")


def test_more_streams_of_events_than_that_are_told_so(tmp_path, model, monkeypatch):
    monkeypatch.setattr(watching, "MOST_WATCHERS", 1)
    with started(tmp_path, [model], workers=0) as server, server.stream("GET", "/api/v1/events") as first:
        lines = first.iter_lines()  # held, since it would close the stream
        assert next(lines) == ": listening"
        refused = server.get("/api/v1/events")
        said = "expected at most 1 event streams at once"
        assert (refused.status_code, refused.json()["detail"].split(",")[0]) == (503, said)
        assert server.get("/health").status_code == 200


def test_every_route_of_the_interface_needs_the_token_but_those_that_are_open():
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    paths = {re.sub(r"{[^}]+}", "x", route.path) for route in routes}
    assert len(paths) > 30
    assert {path for path in paths if not needs_token(path)} == {"/health", "/auth/", "/auth/token"}


@pytest.mark.parametrize("host", ["localhost.", "127.0.0.1.evil.example", "evil.example#127.0.0.1", "a@127.0.0.1.b"])
def test_names_that_only_look_like_this_machine_are_refused(tmp_path, model, host):
    with started(tmp_path, [model], workers=0) as server:
        assert server.get("/api/v1/jobs", headers={"host": host}).status_code == 403


def test_no_other_origin_is_let_in(tmp_path, model):
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    with started(tmp_path, [model], workers=0) as server:
        for one in ("OPTIONS /api/v1/jobs", "GET /api/v1/jobs", "GET /info/", "GET /health"):
            answer = server.request(*one.split(), headers=asked)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


HOSTILE = [
    "../jobs.sqlite3",
    "..%2f..%2fjobs.sqlite3",
    "%2e%2e/jobs.sqlite3",
    "/etc/passwd",
    "x\r\nset-cookie: a",
    "\0",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_lead_nowhere_else(server, scan, name):
    done = ended(server, make_job(server, send(server, (name, scan.read_bytes())))["id"])["id"]
    paths = [
        f"/api/v1/jobs/{done}/files/{name}",
        f"/api/v1/jobs/{name}",
        f"/api/v1/jobs/{done}/view/{name}",
        f"/api/v1/uploads/{name}",
        f"/session/{name}",
        f"/datastore/image?image={name}",
        f"/datastore/label?label={name}&tag={name}",
    ]
    for path in paths:
        answer = server.get(path.replace("\r\n", "%0d%0a").replace("\0", "%00"))
        assert answer.status_code in {404, 405, 422}, path
        assert "set-cookie" not in answer.headers
        assert b"SQLite" not in answer.content


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_what_the_server_writes_is_its_users_alone(tmp_path, model):
    folder = tmp_path / "server"
    scan = write_scan(tmp_path / "ct.nii.gz", 0)
    folder.mkdir(mode=0o755)
    with private_files(), started(folder, [model]) as server:
        job = make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))
        assert ended(server, job["id"])["state"] == "done"
        found = [path for path in folder.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
        assert found == []
    assert os.umask(0o022) == 0o022  # as it was


def test_a_fault_is_logged_without_what_was_sent():
    sent = "^".join(["DOE", "JANE"])
    try:
        raise ValueError(sent)
    except ValueError:
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception: %s\n", ("x",), sys.exc_info())
    assert WithoutValues().filter(record)
    text = logging.Formatter().format(record)
    assert sent not in text
    assert "ValueError\n" in text
    assert "test_connections.py" in text
