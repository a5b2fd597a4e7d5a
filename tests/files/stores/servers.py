"""A web server with ranges and states, a proxy that drops connections, and moto's server as a process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]


class WebServer(ThreadingHTTPServer):
    """Files by path; `asked` has each request's path with its query and its range."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], *, knows_ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.knows_ranges = files, knows_ranges
        self.asked: list[tuple[str, str | None]] = []
        self.status: dict[str, int] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(path)
        status = self.server.status.get(path, 200 if content is not None else 404)
        if content is None or status != 200:
            self.send_error(status)
            return
        asked = self.headers.get("Range") if self.server.knows_ranges else None
        first, last = (int(n) for n in asked.removeprefix("bytes=").split("-")) if asked else (0, len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{hash(content)}"')
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(part)

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def serving(server: WebServer) -> Iterator[WebServer]:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Proxy:
    """Passes connections on to a port; the next one that is used ends after so many bytes as the first of `drops` says.

    These are bytes of the answer, with `upwards` of the question.
    """

    def __init__(self, port: int) -> None:
        self._to, self.drops, self.upwards, self.dropped = port, list[int](), False, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._to)) as server:
            up = threading.Thread(target=self._copy, args=(client, server, True), daemon=True)
            up.start()
            self._copy(server, client, False)
            up.join(5)

    def _copy(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        passed, limit = 0, None
        with suppress(OSError):
            while chunk := source.recv(65536):
                if limit is None and is_up == self.upwards and self.drops:
                    passed, limit = 0, self.drops.pop(0)
                if limit is not None and passed + len(chunk) >= limit:
                    target.sendall(chunk[: limit - passed])
                    self.dropped += 1
                    break
                target.sendall(chunk)
                passed += len(chunk)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Certificate:
    """Of 127.0.0.1, by an authority that no machine knows."""

    authority: Path
    file: Path
    key: Path


def certificate_in(folder: Path) -> Certificate:
    """A new one; the test is skipped where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    # With what RFC 5280 asks for, and Python from 3.13 on: what the authority's key is for, and which key signed.
    new, signs = ("-newkey", "rsa:2048", "-nodes"), ("-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=somebody", *signs)
    openssl("req", *new, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=127.0.0.1")
    extensions = "subjectAltName=IP:127.0.0.1", "basicConstraints=CA:FALSE", "authorityKeyIdentifier=keyid"
    (folder / "of.txt").write_text("\n".join(extensions))
    by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "of.txt")
    openssl("x509", "-req", "-in", "own.csr", "-out", "own.pem", *by)
    return Certificate(folder / "ca.pem", folder / "own.pem", folder / "own.key")


def moto_server() -> str:
    """Where moto's server is; the test is skipped where it is not."""
    inside = PROJECT / "build" / "moto" / "bin" / "moto_server"
    found = os.environ.get("TOMOSEG_MOTO_SERVER") or (str(inside) if inside.exists() else shutil.which("moto_server"))
    if found is None:
        pytest.skip("needs moto's server in an environment of its own: see CONTRIBUTING.md")
    return found


@contextmanager
def moto(certificate: Certificate | None = None) -> Iterator[int]:
    """The port of a real S3 server, a process of its own; with a certificate it speaks HTTPS."""
    pytest.importorskip("obstore")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    quiet = subprocess.DEVNULL
    secure = [] if certificate is None else ["-c", str(certificate.file), "-k", str(certificate.key)]
    command = [moto_server(), "-H", "127.0.0.1", "-p", str(port), *secure]
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()
