"""Faults injected into commands; for faults.py."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fault_runs import Failing, Place, Run, start


@dataclass(frozen=True)
class Command:
    """A command under test.

    Attributes:
        name: In the table.
        words: Of the command line, for a place.
        inputs: Folders and files that must stay as they are.
        before: What its output has before, copied from there; nothing if None.
        takes_files_beside: Whether the user may have files in its output.
        refuses_what_is_there: What it says where its output is whole already, and ends with 2.
    """

    name: str
    words: Callable[[Place], list[str]]
    inputs: tuple[str, ...]
    before: str | None = None
    takes_files_beside: bool = True
    refuses_what_is_there: str | None = None


@dataclass
class Before:
    """Resources and output of an undisturbed run.

    Attributes:
        seconds: Duration in seconds.
        bytes: Size of the output.
        left: Digests of the output: of each file, and of each value of JSON files.
        loose: Entries that differ between two undisturbed runs.
        address_space: Maximum address space beyond that at the start.
        renames: Number of times that a file or folder got its name.
        flushes: Number of times that a file or folder was flushed.
    """

    seconds: float
    bytes: int
    left: dict[str, str]
    loose: set[str]
    address_space: int
    renames: int
    flushes: int


@dataclass
class Point:
    """One fault.

    Attributes:
        command: Which.
        before: Of the command.
        place: Where.
        rng: Of the point's seed.
        told: What went wrong.
    """

    command: Command
    before: Before
    place: Place
    rng: random.Random
    told: list[str] = field(default_factory=list)

    @property
    def moment(self) -> float:
        return self.rng.uniform(0, self.before.seconds * 1.05)

    def start(self, limit: Callable[[], None] = lambda: None, log: str = "log.txt") -> Run:
        return start(self.command.words(self.place), self.place.work / log, limit)

    def sleep_into(self, run: Run) -> None:
        until = time.monotonic() + self.moment
        while time.monotonic() < until and not run.poll():
            time.sleep(0.002)

    def end(self, run: Run) -> None:
        if not run.wait():
            self.told.append("it did not end")
        if run.status and run.status > 0:
            lines = [line for line in run.log.read_text(errors="replace").splitlines() if line.strip()]
            if not lines:
                self.told.append(f"it ended with {run.status} and said nothing")
            if any("Traceback (most recent" in line for line in lines):
                places = [line.strip() for line in lines if line.lstrip().startswith(("File ", "Exception ignored"))]
                self.told.append(f"a traceback: {lines[-1][:200]} ({', '.join(places[-3:])})")


def kill(point: Point) -> None:
    run = point.start()
    point.sleep_into(run)
    if not run.poll() and (there := run.processes()):
        run.send(signal.SIGKILL, point.rng.choice(there).pid)
    point.end(run)
    run.kill_all()


def terminate(point: Point) -> None:
    run = point.start()
    point.sleep_into(run)
    run.send(signal.SIGTERM)
    point.end(run)


def interrupt_twice(point: Point) -> None:
    run = point.start()
    point.sleep_into(run)
    run.send(signal.SIGINT)
    time.sleep(point.rng.choice([0, 0.001, 0.01, 0.1, 0.3]))
    run.send(signal.SIGINT)
    point.end(run)


@contextmanager
def small_disk(point: Point, size: int) -> Iterator[Path]:
    """Mount a disk of `size` bytes in place of the output's."""
    disk = point.place.disk
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, 65536)}", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        for _ in range(100):
            if subprocess.run(["umount", str(disk)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)


def disk_full(point: Point) -> None:
    there = sum(file.stat().st_size + 4096 for file in point.place.out.rglob("*") if file.is_file())
    room = int(point.before.bytes * 1.1 * point.rng.random())
    subprocess.run(["mount", "-o", f"remount,size={there + room + 65536}", str(point.place.disk)], check=True)
    run = point.start()
    point.end(run)
    subprocess.run(["mount", "-o", "remount,size=1g", str(point.place.disk)], check=True)


def read_only(point: Point) -> None:
    run = point.start()
    point.sleep_into(run)
    for _ in range(200):  # a disk on which a file is being written cannot be made so
        made = subprocess.run(["mount", "-o", "remount,ro", str(point.place.disk)], capture_output=True, check=False)
        if made.returncode == 0 or run.poll():
            break
        time.sleep(0.005)
    point.end(run)
    subprocess.run(["mount", "-o", "remount,rw", str(point.place.disk)], check=True)


def no_inodes(point: Point) -> None:
    """Give the disk room for a few more files than it has, then for many."""
    there = sum(1 for _ in point.place.disk.rglob("*")) + 2
    room = point.rng.randrange(1, 2 * point.before.renames + 4)
    subprocess.run(["mount", "-o", f"remount,nr_inodes={there + room}", str(point.place.disk)], check=True)
    point.end(point.start())
    subprocess.run(["mount", "-o", "remount,nr_inodes=100k", str(point.place.disk)], check=True)


def rename_fails(point: Point) -> None:
    """Let one rename, or it and all after it, fail for lack of room in the folder, or because of the disk."""
    _call_fails(point, point.place.control.renames, point.before.renames, (errno.ENOSPC, errno.EIO, errno.EDQUOT))


def flush_fails(point: Point) -> None:
    """Let one flush, or it and all after it, fail, as on a disk that is full or damaged, or on another machine."""
    _call_fails(point, point.place.control.flushes, point.before.flushes, (errno.EIO, errno.ENOSPC, errno.EDQUOT))


def _call_fails(point: Point, calls: Failing, count: int, errors: tuple[int, ...]) -> None:
    first = point.rng.randrange(1, count + 2)
    calls.fail(first, point.rng.choice([first + 1, 1 << 60]), point.rng.choice(errors))
    try:
        point.end(point.start())
    finally:
        calls.fail(0, 0, 0)


def file_size(point: Point) -> None:
    largest = int(point.before.bytes * point.rng.random())
    point.end(point.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))))


def memory(point: Point) -> None:
    allowed = psutil.Process().memory_info().vms + int(point.before.address_space * point.rng.random())
    point.end(point.start(lambda: resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))))


def clock(point: Point) -> None:
    run = point.start()
    point.sleep_into(run)
    point.place.control.jump_seconds = -point.rng.randint(1, 10**6)
    point.end(run)
    point.place.control.jump_seconds = 0


def changed_input(point: Point) -> None:
    paths = [point.place.work / name for name in point.command.inputs]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    file = point.rng.choice(sorted(files))
    content, state = file.read_bytes(), file.stat()
    run = point.start()
    point.sleep_into(run)
    start_at = point.rng.randrange(max(1, len(content)))
    file.write_bytes(content[:start_at] + point.rng.randbytes(point.rng.choice([0, 100])))
    point.end(run)
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def power_lost(point: Point) -> None:
    point.place.forget_writes()
    point.place.control.tracking = 1
    run = point.start()
    point.sleep_into(run)
    run.kill_all()
    point.place.control.tracking = 0
    dirty = {slot.inode: slot.synced for slot in point.place.control.slots if slot.inode and slot.dirty}
    for file in point.place.disk.rglob("*"):
        if file.is_file() and (synced := dirty.get(file.stat().st_ino)) is not None:
            size = file.stat().st_size
            kept = point.rng.choice([min(synced, size), point.rng.randint(min(synced, size), size)])
            os.truncate(file, kept)


def two_at_once(point: Point) -> None:
    one = point.start()
    point.sleep_into(one)
    two = point.start(log="second.txt")
    point.end(one)
    point.end(two)


FAULTS: dict[str, Callable[[Point], None]] = {
    "kill": kill,
    "terminate": terminate,
    "interrupt-twice": interrupt_twice,
    "disk-full": disk_full,
    "no-inodes": no_inodes,
    "rename-fails": rename_fails,
    "flush-fails": flush_fails,
    "file-size": file_size,
    "read-only": read_only,
    "memory": memory,
    "clock-back": clock,
    "changed-input": changed_input,
    "power-lost": power_lost,
    "two-at-once": two_at_once,
}
ON_A_DISK = {"disk-full", "no-inodes", "read-only"}
