"""How many threads compute, and the threads that decide."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import psutil


def thread_count() -> int:
    """Threads that a prediction computes with.

    Where PyTorch is loaded its own number counts (`torch.set_num_threads`), so that one process has one number; else
    `OMP_NUM_THREADS`, else the physical cores that this process may use.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):  # it may be on its way in another thread
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else _cores()


@cache
def _cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads of our own: numba's parallel layer aborts when several threads enter it."""
    return ThreadPoolExecutor(threads, thread_name_prefix="tomoseg-decide")


if hasattr(os, "register_at_fork"):  # a child has no thread of its parent's: it would wait for them without end
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_rows(work: Callable[[int, int], object], rows: int) -> None:
    """Run work on ranges of rows, several a thread, since anatomy is not spread evenly.

    Args:
        work: Takes the first row and one past the last; it should let go of Python's lock.
        rows: How many there are.
    """
    threads = thread_count()
    step = max(1, -(-rows // (4 * threads)))
    list(_pool(threads).map(lambda begin: work(begin, min(begin + step, rows)), range(0, rows, step)))
