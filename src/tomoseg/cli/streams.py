"""Standard output and standard error as they are found: closed, full, of few letters, or with nobody who reads."""

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
    """Run what prints, on streams that can be written to; returns its exit status.

    A closed stream leads nowhere, and what a stream has no letter for is written as its code. A reader that goes, as
    `head` does, ends the command quietly. Output that cannot be written is told.

    Args:
        command: What is run.
        ends_process: The process ends with it: where Ctrl-C stopped it, a further one is of no use.

    Raises:
        SystemExit: As the command raises it.
    """
    _open_closed_ones()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # what takes its place in a notebook or a test may have none
            reconfigure(errors="backslashreplace")
    try:
        status = command()
    except SystemExit as end:  # help, or a word that cannot be read
        end.code = _flushed(end.code)
        raise
    except OSError as error:
        return _told(error)
    except KeyboardInterrupt:  # while the command is still being loaded, or once more while that was being told
        _ignore_further(ends_process)
        with contextlib.suppress(OSError):
            sys.stderr.write("error: stopped\n")
        return STOPPED
    _ignore_further(ends_process and status == STOPPED)
    return int(_flushed(status) or DONE)


def _ignore_further(ends_process: bool) -> None:
    """Let further Ctrl-C pass while the process ends, else Python prints where it was just then."""
    if ends_process and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_closed_ones() -> None:
    """Lead closed streams nowhere, else the next file that is opened would take their place and what is printed."""
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
    if sys.stdout is None:  # as Python leaves a closed one
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _flushed(status: int | str | None) -> int | str | None:
    """The exit status, or another one where the rest of what was printed cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _lead_nowhere()
        return _told(error) if status in {None, DONE, SOME_FAILED} else status
    return status


def _told(error: OSError) -> int:
    """Say that it cannot be written, unless nobody wanted it."""
    _lead_nowhere()
    if isinstance(error, BrokenPipeError):
        return NOT_READ
    with contextlib.suppress(OSError):
        message = f"expected to print, got: {error.strerror or error}; choose another place for standard output"
        sys.stderr.write(f"error: {message}\n")
    return NOT_STARTED


def _lead_nowhere() -> None:
    """Python writes what is left when it ends, which would fail once more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
