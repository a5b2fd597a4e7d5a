"""Standard output and standard error that may be closed, full, of a limited encoding, or without a reader."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from tomoseg.cli.exits import DONE, NOT_READ, NOT_STARTED, SOME_FAILED, STOPPED

_LAST_DESCRIPTOR = 2


def with_streams(command: Callable[[], int], *, ends_process: bool = False) -> int:
    """Run a command on streams that can be written to, and return its exit status.

    A closed stream is replaced by the null device, and characters that a stream cannot encode are escaped. If the
    reader goes, as `head` does, the command ends quietly. Output that cannot be written is reported.

    Args:
        command: The command.
        ends_process: Whether the process ends with it; further Ctrl-C are then ignored after it was stopped.

    Raises:
        SystemExit: If the command raises it.
    """
    stopped = False
    while True:
        try:
            return _stopped(ends_process) if stopped else _run(command, ends_process)
        except KeyboardInterrupt:  # while the command is being imported, or while an earlier one is being reported
            stopped = True


def _run(command: Callable[[], int], ends_process: bool) -> int:
    _open_closed_ones()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # streams of notebooks and tests may have none
            reconfigure(errors="backslashreplace")
    try:
        status = command()
    except SystemExit as end:  # help, or an argument that cannot be parsed
        end.code = _flushed(end.code)
        raise
    except OSError as error:
        return _told(error)
    _ignore_further(ends_process and status == STOPPED)
    return int(_flushed(status) or DONE)


def _stopped(ends_process: bool) -> int:
    _ignore_further(ends_process)
    with contextlib.suppress(OSError):
        sys.stderr.write("error: stopped\n")
    return STOPPED


def _ignore_further(ends_process: bool) -> None:
    """Ignore further Ctrl-C while the process ends; otherwise Python prints a traceback."""
    if ends_process and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_closed_ones() -> None:
    """Redirect closed streams to the null device; otherwise output would go into the next file that is opened."""
    for number in range(_LAST_DESCRIPTOR + 1):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            else:
                os.set_inheritable(number, True)
    if sys.stdout is None:  # Python's value for a closed one
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _flushed(status: int | str | None) -> int | str | None:
    """Flush standard output; return the exit status, or another one if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _lead_nowhere()
        return _told(error) if status in {None, DONE, SOME_FAILED} else status
    return status


def _told(error: OSError) -> int:
    """Report that output cannot be written, unless its reader has gone, and return the exit status."""
    _lead_nowhere()
    if isinstance(error, BrokenPipeError):
        return NOT_READ
    with contextlib.suppress(OSError):
        message = f"expected to print, got: {error.strerror or error}; choose another place for standard output"
        sys.stderr.write(f"error: {message}\n")
    return NOT_STARTED


def _lead_nowhere() -> None:
    """Redirect standard output to the null device, since Python's flush at exit would fail again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
