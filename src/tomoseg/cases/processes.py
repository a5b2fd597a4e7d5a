"""Processing of cases in several processes on this machine, each with its share of the cores.

If a process dies, only the attempt at its case is lost: another process repeats it. If this process ends, so do they,
after their current case.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Generic, NoReturn

from tomoseg.cases.answers import attempt
from tomoseg.cases.work import MOST_TRIES, Case, Done, Waiting, Work
from tomoseg.errors import ConfigError
from tomoseg.inference.threads import thread_count
from tomoseg.interrupts import interrupts_blocked
from tomoseg.limits import OF_WORKERS, refuse_hopeless_threads

THREADS = "OMP_NUM_THREADS"
"""Environment variable that sets the number of threads of libraries and of `thread_count`."""

_END_SECONDS = 20.0
"""Seconds after which a worker that was asked to end is killed."""

SCRIPT = 'in your own script, call it under `if __name__ == "__main__":`'


@dataclass
class _Worker:
    """A process and its current case."""

    process: BaseProcess
    pipe: Connection
    case: int | None = None
    is_ready: bool = False


def in_processes(
    work: Work[Case, Done], cases: Sequence[Case], workers: int, on_ready: Callable[[Mapping[str, Any]], None]
) -> Iterator[tuple[int, Done]]:
    """Process cases in several processes on this machine.

    Args:
        work: The work to do on each case.
        cases: The cases.
        workers: Number of processes, at most one per case.
        on_ready: Called with what each worker's records depend on.

    Yields:
        The number and the record of each case, in the order in which they are finished.

    Raises:
        TomosegError: If the work fails for a reason that does not concern a single case.
        ConfigError: If a worker dies before its first case.
    """
    crew = _Crew(work, cases, max(1, min(workers, len(cases))), on_ready)
    try:
        yield from crew.records()
    finally:
        crew.end()


class _Crew(Generic[Case, Done]):
    """The processes, and the cases that are left.

    Args:
        work: The work to do on each case.
        cases: The cases.
        count: Number of processes.
        on_ready: Called with what each worker's records depend on.
    """

    def __init__(
        self, work: Work[Case, Done], cases: Sequence[Case], count: int, on_ready: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._work, self._cases, self._on_ready = work.divided(count), cases, on_ready
        self._waiting, self._count = Waiting(len(cases)), count
        self._workers: list[_Worker] = []
        self._died_unready = 0

    def records(self) -> Iterator[tuple[int, Done]]:
        """Yield the number and the record of each case, in the order in which they are finished."""
        while self._waiting or any(one.case is not None for one in self._workers):
            for worker in self._workers:
                self._hand_out(worker)
            while self._waiting and len(self._workers) < self._count:
                self._workers.append(_start(self._work, max(1, thread_count() // self._count)))
            for worker in _heard(self._workers):
                done = self._hear(worker)
                if done is not None:
                    yield done

    def _hand_out(self, worker: _Worker) -> None:
        """Send the next case to a worker that has none."""
        if self._waiting and worker.is_ready and worker.case is None:
            worker.case = self._waiting.take()
            with suppress(OSError):  # it has died meanwhile, which is noticed next
                worker.pipe.send(self._cases[worker.case])

    def _hear(self, worker: _Worker) -> tuple[int, Done] | None:
        """Receive the answer of a worker and send it the next case; return the record if it finished one."""
        answer = _answer(worker)
        number, worker.case = worker.case, None
        if answer is None:
            return self._lost(worker, number)
        if not worker.is_ready:
            worker.is_ready, self._died_unready = True, 0
            self._on_ready(answer)
        self._hand_out(worker)
        return None if number is None else (number, answer)

    def _lost(self, worker: _Worker, number: int | None) -> tuple[int, Done] | None:
        """Remove a worker that has died; return the record of its case if that is given up.

        Raises:
            ConfigError: If several workers in a row die before their first case.
        """
        self._workers.remove(worker)
        worker.process.join()
        if number is None:
            self._died_unready += not worker.is_ready
            if self._died_unready >= MOST_TRIES:
                raise ConfigError(f"{OF_WORKERS}; {SCRIPT}")
            return None
        reason = self._waiting.ended_its_worker(number, how_it_ended(worker.process.exitcode))
        return None if reason is None else (number, self._work.lost(self._cases[number], reason))

    def end(self) -> None:
        """End the processes."""
        _end(self._workers)


def _heard(crew: Sequence[_Worker]) -> list[_Worker]:
    """Wait for and return workers that have answered or died; those without a case can only die."""
    of_pipe = {one.pipe: one for one in crew}
    return [of_pipe[pipe] for pipe in wait(list(of_pipe)) if isinstance(pipe, Connection)]


def _answer(worker: _Worker) -> Any | None:
    """Return the answer of a worker; None if it has died.

    Raises:
        BaseException: The exception that it raised.
    """
    try:
        kind, what = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    if kind == "error":
        raise what
    return what


def how_it_ended(status: int | None) -> str:
    """Describe the end of a process.

    Args:
        status: Exit code from `multiprocessing`; below 0 it is a signal.

    Example:
        >>> how_it_ended(-9), how_it_ended(1)
        ('SIGKILL', 'exit status 1')
    """
    if status is not None and status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"


def _start(work: Work[Case, Done], threads: int) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), name="tomoseg-worker", daemon=True)
    start_with_threads(process, threads)
    theirs.close()
    return _Worker(process, ours)


def start_with_threads(process: BaseProcess, threads: int) -> None:
    """Start a process whose libraries, and `thread_count`, take a number of threads; Ctrl-C does not reach it.

    Args:
        process: The process, not yet started.
        threads: Number of threads.
    """
    before = os.environ.get(THREADS)
    os.environ[THREADS] = str(threads)
    try:
        with interrupts_blocked():
            process.start()
    finally:
        if before is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = before


def _end(crew: Sequence[_Worker]) -> None:
    for worker in crew:
        worker.pipe.close()  # ends a worker that waits for a case
        if worker.case is not None or not worker.is_ready:
            worker.process.terminate()
    for worker in crew:
        worker.process.join(_END_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _serve(work: Work[Case, Done], pipe: Connection) -> None:
    """Run a worker: open the work, then process cases until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows, where it cannot be blocked
    signal.signal(signal.SIGTERM, _leave)
    logging.getLogger().addHandler(logging.NullHandler())  # otherwise Python prints what libraries log
    refuse_hopeless_threads()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed the pipe
        kind, opened = attempt("ready", work.open)
        pipe.send((kind, opened if kind == "error" else opened.about))
        while kind != "error":
            case = pipe.recv()
            kind, record = attempt("done", partial(opened.one, case))
            pipe.send((kind, record))


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Exit normally, so that unfinished files are removed.

    Raises:
        SystemExit: Always.
    """
    raise SystemExit(0)
