"""Distribution of cases among workers that share only a folder.

A worker claims a case by creating a file exclusively (`open` with O_EXCL: atomic on local disks, and on NFS from
version 3 on), and touches it while it works. A lease that was not touched for `LEASE_SECONDS` has expired: the next
attempt at that case is another file, `NAME.2` after `NAME.1`, which again only one worker can create. Nothing is
renamed or removed meanwhile, so a worker that was thought dead and was only slow does no harm: both write the same
complete result. Of a file that is damaged, or unreadable because it is another user's, only name and time count.

Clocks of machines differ, so expiry is decided by the times of two files in that folder only: the lease's, and one
that is touched for this purpose. On NFS a file's time may be as old as the client's cache, so it is read from an open
file, for which the client asks the server. A lease in the future expires in the same way, since that clock may have
been set back.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from tomoseg.cases.folders import WORK
from tomoseg.cases.work import MOST_TRIES, worker_ended_message
from tomoseg.files.atomic import errors_told

LEASE_SECONDS = 120.0
BEAT_SECONDS = 15.0
"""Seconds between renewals of a lease; several may be late before it expires."""

LOOK_SECONDS = 10.0
"""Seconds between checks of what other workers have done."""

JOB = "job.json"
"""File that describes the command and its cases."""

LEASES, ENDS, CLOCK = "leases", "ends", "clock"
DONE, FAILED = "done", "failed"
RELEASED = "released"
LOST = "expected the reason why it failed, got none: it was lost in writing; run the same command again"


@dataclass(frozen=True)
class Lease:
    """An attempt at a case.

    Attributes:
        name: The name of the case.
        number: The number of the attempt, from 1.
        host: Host name of the worker.
        pid: Process id of the worker.
        is_live: Whether it was touched recently, and its process has not ended as far as is known.
        is_released: Whether its worker gave it back.
        mark: Digest of what its worker's records depend on; may be empty.
    """

    name: str
    number: int
    host: str
    pid: int
    is_live: bool
    is_released: bool = False
    mark: str = ""


class Leases:
    """Claims and results of cases in a folder that workers share.

    Args:
        output: The results folder.
        mark: Digest of what this worker's records depend on.

    Example:
        >>> import tempfile
        >>> leases = Leases(Path(tempfile.mkdtemp()))
        >>> leases.claim("s0"), leases.claim("s0")
        (True, False)
        >>> leases.end("s0", {"error": None})
        >>> leases.ended()
        {'s0'}
    """

    def __init__(self, output: Path, mark: str = "") -> None:
        self.folder, self.mark = output / WORK, mark
        self._leases, self._ends = self.folder / LEASES, self.folder / ENDS
        self._worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._clock = self.folder / f"{CLOCK}-{self._worker}"
        self._held: dict[str, Path] = {}

    def claim(self, name: str) -> bool:
        """Claim a case, and return whether that succeeded.

        Args:
            name: The name of the case, which must be valid in a file name.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        if self._end(name, DONE).exists() or self._end(name, FAILED).exists():
            return False
        last = self.last(name)
        if last is not None and (last.is_live or self._tries(name, last) >= MOST_TRIES):
            return False
        path = self._lease(name, 1 if last is None else last.number + 1)
        content = json.dumps(_of_this_process() | {"worker": self._worker, "mark": self.mark})
        with errors_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(content)
            except FileExistsError:
                return False
        self._held[name] = path
        return True

    def release(self, name: str) -> None:
        """Give back a case that was not finished, so that others need not wait."""
        path = self._held.pop(name, None)
        if path is not None and self._is_own(path):
            with suppress(OSError):
                path.write_text(json.dumps({RELEASED: True}), encoding="utf-8")

    def end(self, name: str, record: dict[str, Any]) -> None:
        """Record the end of a case.

        Args:
            name: The name of the case.
            record: Its outcome; `error` is None if it succeeded.

        Raises:
            OutputError: If it cannot be written.
        """
        path = self._end(name, FAILED if record["error"] is not None else DONE)
        aside = path.with_name(f".{uuid.uuid4().hex[:12]}")
        with errors_told(path):  # atomic, but not flushed: after a power failure the results themselves are checked
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(json.dumps(record), encoding="utf-8")
            aside.replace(path)
        self._held.pop(name, None)

    def spent(self, name: str) -> int | None:
        """Return the number of workers that a case has ended, if it is too large to try again; otherwise None."""
        last = self.last(name)
        if last is None or last.is_live:
            return None
        tries = self._tries(name, last)
        return tries if tries >= MOST_TRIES else None

    def ended(self, state: str | None = None) -> set[str]:
        """Return the names of the cases that have ended.

        Args:
            state: `done` or `failed`; if omitted, both.
        """
        found = (name.rpartition(".") for name in _names_in(self._ends))
        return {name for name, _, kind in found if kind in {DONE, FAILED} and state in {None, kind}}

    def end_of(self, name: str) -> dict[str, Any] | None:
        """Return the outcome of a case; None if it has not ended."""
        for state, lost in ((DONE, None), (FAILED, LOST)):
            found = _as_written(self._end(name, state))
            if found is not None:
                _, record = found
                is_of_it = "error" in record and (record["error"] is None) == (state == DONE)
                return dict(record) if is_of_it else {"error": lost}
        return None

    def end_times(self) -> list[float]:
        """Return the times at which cases ended, ascending, in seconds of the file system's clock."""
        with suppress(FileNotFoundError), os.scandir(self._ends) as entries:
            return sorted(entry.stat().st_mtime for entry in entries if entry.name.endswith((f".{DONE}", f".{FAILED}")))
        return []

    def forget(self, names: Sequence[str]) -> None:
        """Remove the outcomes and leases of cases, so that they are processed again, and what killed workers left."""
        numbers = self._numbers()
        for name in names:
            for path in (self._end(name, DONE), self._end(name, FAILED)):
                path.unlink(missing_ok=True)
            for number in range(1, numbers.get(name, 0) + 1):
                self._lease(name, number).unlink(missing_ok=True)
        now = self.now()
        for left in (*self.folder.glob(f"{CLOCK}-*"), *self._ends.glob(f".{'[0-9a-f]' * 12}")):
            with suppress(OSError):
                if abs(now - left.stat().st_mtime) >= LEASE_SECONDS:
                    left.unlink()

    def at_work(self, now: float | None = None) -> list[Lease]:
        """Return the live leases of cases that have not ended.

        Args:
            now: The time in seconds since 1970; if omitted, that of the file system's clock, as `now` returns it.

        Raises:
            OutputError: If `now` is omitted and the folder cannot be written to.
        """
        ended, now = self.ended(), self.now() if now is None else now
        found = (self._read(name, number, now) for name, number in self._numbers().items() if name not in ended)
        return [one for one in found if one is not None and one.is_live]

    def last(self, name: str) -> Lease | None:
        """Return the last lease of a case; None if there is none."""
        number = 0
        while self._lease(name, number + 1).exists():
            number += 1
        return self._read(name, number, self.now()) if number else None

    def now(self) -> float:
        """Return the time of the file system's clock.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        with errors_told(self._clock):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clock.touch()
            return self._clock.stat().st_mtime

    def close(self) -> None:
        """Give back all cases that are held."""
        for name in list(self._held):
            self.release(name)
        self._clock.unlink(missing_ok=True)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the leases that are held while the block runs, in a thread."""
        end = Event()

        def beat() -> None:
            while not end.wait(BEAT_SECONDS):
                for path in list(self._held.values()):
                    with suppress(OSError):
                        if self._is_own(path):
                            os.utime(path)

        thread = Thread(target=beat, name="tomoseg-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _is_own(self, path: Path) -> bool:
        """Return whether a lease is still this worker's: another command may have removed it, and begun anew."""
        found = _as_written(path)
        return found is not None and found[1].get("worker") == self._worker

    def _tries(self, name: str, last: Lease) -> int:
        """Count the attempts that were not given back."""
        now = self.now() if last.number > 1 else 0.0
        before = (self._read(name, number, now) for number in range(1, last.number))
        return sum(one is not None and not one.is_released for one in (*before, last))

    def _numbers(self) -> dict[str, int]:
        """Return the number of the last attempt at each case."""
        found: dict[str, int] = {}
        for file in _names_in(self._leases):
            name, _, number = file.rpartition(".")
            if name and number.isdecimal():
                found[name] = max(found.get(name, 0), int(number))
        return found

    def _read(self, name: str, number: int, now: float) -> Lease | None:
        found = _as_written(self._lease(name, number))
        if found is None:
            return None
        touched, content = found
        if content.get(RELEASED):
            return Lease(name, number, "", 0, False, True)
        pid = content.get("pid")
        pid = pid if isinstance(pid, int) else 0
        is_gone = content.get("counted_by") == _counted_by() and _has_ended(pid)
        is_live = abs(now - touched) < LEASE_SECONDS and not is_gone
        return Lease(name, number, str(content.get("host", "")), pid, is_live, mark=str(content.get("mark", "")))

    def _lease(self, name: str, number: int) -> Path:
        return self._leases / f"{name}.{number}"

    def _end(self, name: str, state: str) -> Path:
        return self._ends / f"{name}.{state}"


def _of_this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "counted_by": _counted_by()}


def _has_ended(pid: int) -> bool:
    """Return whether a process has ended, even if its parent has not taken note; one that is stopped may go on."""
    try:
        return psutil.Process(pid).status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except (psutil.NoSuchProcess, ValueError):
        return True


@cache
def _counted_by() -> str:
    """Identify the boot and the PID namespace in which a process id is unique, since host names may be shared."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _as_written(path: Path) -> tuple[float, Mapping[str, Any]] | None:
    """Return the time and the content of a file, empty if it cannot be read; None if there is no file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            touched, text = os.fstat(file.fileno()).st_mtime, file.read()
    except FileNotFoundError:
        return None
    except OSError:  # another user's, without permission to read it
        return path.stat().st_mtime, {}
    with suppress(ValueError, RecursionError):  # still being written, or damaged
        content = json.loads(text)
        return touched, content if isinstance(content, dict) else {}
    return touched, {}


def _names_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [entry.name for entry in entries]
    return []


def state_of(path: Path) -> tuple[int, int, int] | None:
    """Return what changes if a file is replaced, from the server if it is on NFS; None if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        state = os.fstat(file.fileno())
        return state.st_ino, state.st_mtime_ns, state.st_size
    return None


def share(
    leases: Leases,
    names: Sequence[str],
    look_seconds: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Claim cases one after the other, until all have ended, whoever processed them.

    Args:
        leases: The leases of the folder.
        names: The names of all cases.
        look_seconds: Seconds between checks of what other workers have done; if omitted, `LOOK_SECONDS`.
        check: Called before each claim; raises an error if the cases are no longer this worker's to claim.

    Yields:
        The name of a case that was claimed; `Leases.end` must be called for it before the next.
    """
    look_seconds = LOOK_SECONDS if look_seconds is None else look_seconds
    left = list(names)
    start = int(uuid.uuid4()) % max(1, len(left))  # random, so that workers do not compete for the same case
    left = left[start:] + left[:start]
    while left:
        ended, mine = leases.ended(), 0
        left = [name for name in left if name not in ended]
        for name in _claimed(leases, left, look_seconds, check):
            mine += 1
            yield name
        if left and not mine:
            time.sleep(look_seconds)


def _claimed(leases: Leases, names: Sequence[str], look_seconds: float, check: Callable[[], None]) -> Iterator[str]:
    """Yield cases that can be claimed, for up to `look_seconds`; end those that have failed too often."""
    began = time.monotonic()
    for name in names:
        if time.monotonic() - began > look_seconds:
            return
        check()
        if leases.claim(name):
            yield name
        elif tries := leases.spent(name):
            leases.end(name, {"error": worker_ended_message(tries, "its lease expired")})
