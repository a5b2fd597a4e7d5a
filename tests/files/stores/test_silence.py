"""Stores that accept connections and then say nothing, and slow ones."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from tests.files.stores.servers import WebServer, serving
from tomoseg.cli import main
from tomoseg.errors import InputError, OutputError
from tomoseg.files.stores import objects, web
from tomoseg.files.stores.addresses import place_of
from tomoseg.files.stores.mirror import mirror
from tomoseg.files.stores.upload import check_store, upload
from tomoseg.terminal import waiting

WHOLE = 'HTTP/1.1 200 OK\r\nLast-Modified: Sun, 29 Nov 2026 12:00:00 GMT\r\nETag: "1"\r\nContent-Length: {}\r\n\r\n'
SILENT_SECONDS = 0.3


class Server:
    """Answers each question by a function of its head, the connection and the bytes that came with the head."""

    def __init__(self, answer):
        self._answer, self.questions = answer, 0
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that a slow reader slows the writer
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                self._open.append(one)
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        with suppress(OSError):
            came = b""
            while chunk := one.recv(4096):
                came += chunk
                if b"\r\n\r\n" in came:
                    self.questions += 1
                    head, _, rest = came.partition(b"\r\n\r\n")
                    self._answer(head.decode(), one, rest)
                    came = b""

    def close(self):
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _nothing(head, connection, rest):
    """Never an answer."""


def _begun(head, size):
    """The head of an answer with an object of this size, of which all is asked for or nothing."""
    part = WHOLE.replace("200 OK", f"206 Partial Content\r\nContent-Range: bytes 0-{size - 1}/{size}")
    return (part if "bytes=0-" in head else WHOLE).format(size).encode()


def _half(head, connection, rest):
    """A half of 400,000 bytes, then nothing more."""
    connection.sendall(_begun(head, 400_000))
    if not head.startswith("HEAD"):
        connection.sendall(bytes(200_000))


def _slowly(head, connection, rest):
    """2,000 bytes, in so many steps that all of it takes longer than a store may be silent."""
    connection.sendall(_begun(head, 2000))
    for _ in range(0 if head.startswith("HEAD") else 10):
        time.sleep(SILENT_SECONDS / 3)
        connection.sendall(bytes(200))


class _Slow:
    """Takes what is uploaded, slowly; `stops` makes it fall silent in the middle of that, for other questions too."""

    def __init__(self, *, stops):
        self.stops, self.taken, self.is_silent = stops, 0, False

    def __call__(self, head, connection, rest):
        if self.is_silent:
            return
        if head.startswith("PUT"):
            missing = int(re.search(r"content-length: (\d+)", head.lower())[1]) - len(rest)
            while missing > 0 and not self.is_silent:
                time.sleep(SILENT_SECONDS / 20)
                missing -= len(connection.recv(40_000))
                self.is_silent = self.stops and missing < 500_000
            self.taken += not self.is_silent
        if not self.is_silent:
            connection.sendall(WHOLE.format(1_000_000 if head.startswith("HEAD") else 0).encode())


@pytest.fixture
def store(monkeypatch):
    """Start a server that answers as the function given, as the store of this process."""
    pytest.importorskip("obstore")
    monkeypatch.setattr(objects, "SILENT_SECONDS", SILENT_SECONDS)
    monkeypatch.setattr(web, "SILENT_SECONDS", SILENT_SECONDS)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    servers = []

    def start(answer):
        servers.append(Server(answer))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{servers[-1].address}")
        monkeypatch.setenv("GOOGLE_BASE_URL", f"http://{servers[-1].address}")
        monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "t0ken")
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("url", ["s3://bucket/ct.nii.gz", "gs://bucket/ct.nii.gz", "http://{}/ct.nii.gz"])
@pytest.mark.parametrize("answer", [_nothing, _half])
def test_a_store_that_hangs_is_given_up(store, url, answer):
    server = store(answer)
    place = place_of(url.format(server.address))
    began = time.monotonic()
    with pytest.raises(InputError, match="got no answer in time, 3 times; check the address and the connection"):
        mirror(place, lazily=False)
    assert 3 * SILENT_SECONDS <= time.monotonic() - began < 10 * SILENT_SECONDS + 1
    assert server.questions == 3 + (answer is _half)
    assert not place.exists()


@pytest.mark.parametrize("url", ["s3://bucket/ct.nii.gz", "http://{}/ct.nii.gz"])
def test_an_answer_may_come_slowly(store, url):
    server = store(_slowly)
    place = place_of(url.format(server.address))
    mirror(place, lazily=False)
    assert place.read_bytes() == bytes(2000)


def test_an_output_that_hangs_is_told_before_the_work(store):
    store(_nothing)
    with pytest.raises(OutputError, match="s3://bucket/out: expected to write it, got no answer in time, 3 times"):
        check_store(place_of("s3://bucket/out"))


def test_an_upload_may_flow_slowly(store, tmp_path):
    slow = _Slow(stops=False)
    store(slow)
    (tmp_path / "result.bin").write_bytes(bytes(1_000_000))
    began = time.monotonic()
    upload({place_of("s3://bucket/result.bin"): tmp_path / "result.bin"})
    assert time.monotonic() - began > SILENT_SECONDS
    assert slow.taken == 1


def test_an_upload_is_given_up_when_the_store_falls_silent(store, tmp_path):
    store(_Slow(stops=True))
    (tmp_path / "result.bin").write_bytes(bytes(1_000_000))
    with pytest.raises(OutputError, match=r"result.bin: expected to write it, got no answer in time, 3 times"):
        upload({place_of("s3://bucket/result.bin"): tmp_path / "result.bin"})


def test_an_upload_that_alone_is_never_answered_is_given_up(store, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "SLOWEST_BYTES", 1e9)
    store(lambda head, connection, rest: head.startswith("HEAD") and connection.sendall(WHOLE.format(1).encode()))
    (tmp_path / "result.bin").write_bytes(bytes(100))
    with pytest.raises(OutputError, match=r"result.bin: expected to write it, got no answer in time, 3 times"):
        upload({place_of("s3://bucket/result.bin"): tmp_path / "result.bin"})


@pytest.mark.parametrize("words", [["s3://bucket/data", "-o", "out"], ["data", "-o", "s3://bucket/out"]])
def test_ctrl_c_ends_the_wait_at_once(store, tmp_path, words):
    """Within a fraction of the 20 s that a store may be silent, which a process of its own waits for."""
    (tmp_path / "data").mkdir()
    server = store(_nothing)
    command = [sys.executable, "-m", "tomoseg", "check", *words]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not server.questions:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.communicate(timeout=10)[1]
    assert process.returncode == 130


def test_without_a_terminal_lines_say_what_is_waited_for(store, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.1)
    store(_nothing)
    assert main(["check", "s3://bucket/data", "-o", str(tmp_path / "out")]) == 2
    assert main(["check", str(tmp_path), "-o", "s3://bucket/out"]) == 2
    told = capfd.readouterr().err
    assert "Waiting for s3://bucket/data to answer\n" in told
    assert "Waiting for s3://bucket/out to answer\n" in told


def test_without_a_terminal_lines_count_what_is_downloaded(monkeypatch, capfd):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.1)
    found = web.Web.block

    def slow(*words):
        time.sleep(0.5)
        return found(*words)

    monkeypatch.setattr(web.Web, "block", slow)
    with serving(WebServer({"/ct.nii": bytes(100)})) as server:
        url = f"http://{server.address}/ct.nii"
        main(["inspect", url])
    assert f"Downloading {url}: 0 of 1 files\n" in capfd.readouterr().err
