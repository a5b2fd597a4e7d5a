"""Ctrl-C and requests to end, which a terminal, `timeout` or a cluster sends to every process of a command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_blocked(*more: signal.Signals) -> Iterator[None]:
    """Block Ctrl-C in the block, and for good in the processes started in it, which this one ends itself.

    Otherwise each prints a traceback, and dies before it has been told to. One that came meanwhile arrives afterwards.

    Args:
        more: Further signals to block, such as SIGTERM for processes that end without it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its first start, with the first process, would unblock it again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *more})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
