"""Number of compute threads, and the thread pool of decisions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import psutil


def thread_count() -> int:
    """Return the number of threads of a prediction.

    If PyTorch is loaded, it is PyTorch's (`torch.set_num_threads`), so that a process has one number; else
    `OMP_NUM_THREADS`, or else the physical cores that this process may use.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):  # another thread may be importing it
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else _cores()


@cache
def _cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return a thread pool: numba's parallel layer aborts when several threads enter it."""
    return ThreadPoolExecutor(threads, thread_name_prefix="tomoseg-decide")


if hasattr(os, "register_at_fork"):  # a child process lacks its parent's threads and would wait for them for ever
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_rows(work: Callable[[int, int], object], rows: int) -> None:
    """Run work on ranges of rows, several per thread, since anatomy is spread unevenly.

    Args:
        work: Takes the first row and one past the last; it should release the GIL.
        rows: Number of rows.
    """
    threads = thread_count()
    step = max(1, -(-rows // (4 * threads)))
    list(_pool(threads).map(lambda begin: work(begin, min(begin + step, rows)), range(0, rows, step)))
