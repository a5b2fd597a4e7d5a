"""Commands as process groups, in a place whose files and clock `faults.c` intercepts; for faults.py."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from tomoseg.cli import main

SLOTS = 65536
LONGEST_SECONDS = 180.0


class _Slot(ctypes.Structure):
    _fields_ = (("inode", ctypes.c_uint64), ("synced", ctypes.c_uint64), ("dirty", ctypes.c_uint64))


class Failing(ctypes.Structure):
    """A kind of call: how many there were on the output's disk, and which of them fail, with which error."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("calls", "first", "until", "error"))

    def fail(self, first: int, until: int, error: int) -> None:
        """Count anew, and let calls from one on and before another fail."""
        self.calls, self.first, self.until, self.error = 0, first, until, error


class Control(ctypes.Structure):
    """Memory that `faults.c` shares with every process of a command."""

    _fields_ = (
        ("jump_seconds", ctypes.c_int64),
        ("tracking", ctypes.c_uint64),
        ("renames", Failing),
        ("flushes", Failing),
        ("slots", _Slot * SLOTS),
    )


@dataclass
class Place:
    """The place in which commands run.

    Attributes:
        work: Folder of all files.
        control: Memory shared with their processes.
        can_mount: Whether a small disk can be mounted.
        port: Port of the server for `download`.
        own_port: Port of the server that is itself under test.
    """

    work: Path
    control: Control
    can_mount: bool
    port: int = 0
    own_port: int = 0

    @property
    def disk(self) -> Path:
        return self.work / "disk"

    @property
    def out(self) -> Path:
        return self.disk / "out"

    def forget_writes(self) -> None:
        ctypes.memset(ctypes.byref(self.control.slots), 0, ctypes.sizeof(self.control.slots))


@dataclass
class Run:
    """A command's process group.

    Attributes:
        pid: Process id of the group leader.
        log: File of its output.
        status: Its exit status, negative for a signal; None while it runs.
    """

    pid: int
    log: Path
    status: int | None = None

    def processes(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        return []

    def poll(self) -> bool:
        """Return whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, seconds: float = LONGEST_SECONDS) -> bool:
        """Wait for the end; kill it after `seconds` and return False."""
        until = time.monotonic() + seconds
        while not self.poll():
            if time.monotonic() > until:
                self.kill_all()
                return False
            time.sleep(0.005)
        return True

    def send(self, what: int, pid: int | None = None) -> None:
        with suppress(ProcessLookupError):
            if not self.poll() or pid is not None:
                os.kill(pid or self.pid, what)

    def kill_all(self) -> None:
        """Kill the whole group at once, as on power loss."""
        others = self.processes()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for one in others:
            with suppress(psutil.Error):
                one.kill()
        self.wait(30)


def start(words: list[str], log: Path, limit: Callable[[], None] = lambda: None) -> Run:
    """Run a command in a process group of its own, with all that is slow to load there already; return as it begins.

    Args:
        words: Of the command line; of two commands, with `and` between them, the first serves the second.
        log: What it prints goes there.
        limit: Called in its process first.
    """
    sys.stdout.flush()
    begun, begins = os.pipe()
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
        os.close(begins)
        os.read(begun, 1)  # on a busy machine a fault would else come before the command
        os.close(begun)
        return Run(pid, log)

    def begin() -> int:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(file, 1)
        os.dup2(file, 2)
        limit()
        os.close(begun)
        os.close(begins)
        return _served(words) if "and" in words else _command(words)

    _ending_with(begin)


def _ending_with(work: Callable[[], int]) -> NoReturn:
    """End this process as a command does."""
    status = 70
    try:
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if isinstance(error, KeyboardInterrupt) and frame.f_code.co_filename == __file__:
            print("stopped before the command began, or after it had ended")
            status = 130
        else:
            traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _command(words: list[str]) -> int:
    sys.argv = ["tomoseg", *words]
    return main()


def _wait_for_port(port: str) -> None:
    """Give a server half a minute to listen; a client does not wait for it."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            return
        time.sleep(0.02)


def port_is_free(port: int) -> bool:
    """Return whether the port becomes free within half a minute; a process that still listens is killed."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return True
        time.sleep(0.1)
    for one in psutil.net_connections("tcp"):
        if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid:
            os.kill(one.pid, signal.SIGKILL)
    return False


def _served(words: list[str]) -> int:
    """Run a server, and a client that ends it; if the server ends first, so does the client."""
    between = words.index("and")
    server = os.fork()
    if not server:
        _ending_with(lambda: _command(words[:between]))
    client = os.fork()
    if not client:
        _wait_for_port(words[words.index("--port") + 1])
        _ending_with(lambda: _command(words[between + 1 :]))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ended, status = os.wait()
    except KeyboardInterrupt:
        ended, status = 0, signal.SIGINT
    for number in (signal.SIGINT, signal.SIGTERM):  # both are ended, however often it is asked for
        signal.signal(number, signal.SIG_IGN)
    for other in {server, client} - {ended}:
        with suppress(ProcessLookupError):
            os.kill(other, signal.SIGTERM)
            os.waitpid(other, 0)
    if ended == client:
        return max(0, os.waitstatus_to_exitcode(status))
    print("the server has ended")
    return 3
