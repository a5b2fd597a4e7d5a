"""Error messages for exhausted memory, threads, processes and open files, with the settings to lower."""

from __future__ import annotations

import errno
import mmap
import sys
import threading
from concurrent.futures import BrokenExecutor

from tomoseg.errors import ConfigError

_MEMORY = (
    "allocate memory",
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "failed to map segment",
    "allocate lock",
    "not enough memory",
    "paging file is too small",
    "error return without exception set",  # from C libraries that do not check their allocations
)
_THREADS = ("can't start new thread", "resource temporarily unavailable", "thread constructor failed")
_WORKERS = ("dataloader worker",)

LEAST_BYTES: dict[str, float] = {
    "inspect": 0.5e9,
    "check": 0.5e9,
    "preprocess": 0.5e9,
    "phantom": 0.7e9,
    "predict": 1.0e9,
    "serve": 1.0e9,
    "evaluate": 1.0e9,
    "tune": 1.0e9,
    "fuse": 1.5e9,
    "export": 1.5e9,
    "import": 1.5e9,
    "preview": 1.5e9,
    "train": 1.5e9,
    "demo": 1.5e9,
}
"""Address space in bytes that a command's libraries take before it has begun, measured on two cores and rounded up.

With less they abort the process, or hang, with messages of their own. More cores take more."""

LEAST_THREADS = 8
"""Threads that libraries start on two cores; if one of them cannot start, some libraries abort the process."""

ROOM_BYTES = 16 << 20
"""Address space in bytes that must be left beside a new thread's stack: for Python and the C library to begin it."""

_STACK_BYTES = 8 << 20
"""Stack in bytes of a thread where its size has no limit."""

_FEW_PROCESSES = 1000
"""Limit of processes and threads below which starting threads is tried; higher limits are ample for any command."""

OF_MEMORY = (
    "expected enough memory, got none left; hold less at once (--max-memory of predict, --workers of "
    "preprocess and train, --batch-size of train, --structures of evaluate), or raise the limit (`ulimit -v`, "
    "or the job's limit)"
)
OF_THREADS = (
    "expected another thread or process, got none; set OMP_NUM_THREADS=1, lower --workers if the command has "
    "it, or raise the limit (`ulimit -u`, `ulimit -v`, or the job's limit)"
)
OF_WORKERS = (
    "expected the worker processes to survive, got one killed, most likely for lack of memory; run the same "
    "command again, which continues where it was, with fewer --workers if the command has it, or raise the "
    "memory limit"
)
OF_FILES = "expected to open one more file, got too many open files; lower --workers, or raise `ulimit -n`"


def refusal(error: BaseException) -> str | None:
    """Return the message for an error of the operating system or for exhausted resources; None for any other error.

    Args:
        error: The error as caught. Libraries have no common class for these, so their messages are searched, too.

    Example:
        >>> refusal(MemoryError()) == refusal(ImportError("x.so: cannot allocate memory")) == OF_MEMORY
        True
        >>> refusal(KeyError("of ours")) is None
        True
    """
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or _is(error, number, {errno.ENOMEM}, _MEMORY):
        return OF_MEMORY
    if _is(error, number, {errno.EAGAIN}, _THREADS):
        return OF_THREADS
    if isinstance(error, BrokenExecutor) or _is(error, number, set(), _WORKERS):
        return OF_WORKERS
    if number in {errno.EMFILE, errno.ENFILE}:
        return OF_FILES
    return _of_the_system(error) if isinstance(error, OSError) else None


def refuse_too_little(command: str) -> None:
    """Refuse a command if the process is not allowed the memory or the threads that its libraries take.

    Args:
        command: Name of the command.

    Raises:
        ConfigError: If a limit of the process is too low.

    Example:
        >>> refuse_too_little("labels")
    """
    needed, limit = LEAST_BYTES.get(command, 0), _limit_of("RLIMIT_AS")
    if limit is not None and limit < needed:
        raise ConfigError(_too_little(command, needed, limit))
    processes = _limit_of("RLIMIT_NPROC")
    if needed and processes is not None and processes < _FEW_PROCESSES and not _can_start(LEAST_THREADS):
        raise ConfigError(OF_THREADS)


def refuse_hopeless_threads() -> None:
    """Make Python raise an error, from now on in this process, where a new thread would find no memory to begin with.

    Without it, Python waits for the beginning of such a thread for ever, or computes for ever with its lock held (issue
    140746 of CPython). Threads of all libraries written in Python are included.
    """
    if sys.platform != "win32":
        threading.Thread.start = _start_if_hopeful  # type: ignore[method-assign]


_start = threading.Thread.start


def _start_if_hopeful(self: threading.Thread) -> None:
    """Start a thread as Python does.

    Raises:
        RuntimeError: If there is no memory to begin it with; with Python's own words where there is none for its stack.
    """
    stack = threading.stack_size() or _limit_of("RLIMIT_STACK") or _STACK_BYTES
    try:
        mmap.mmap(-1, stack + ROOM_BYTES, flags=mmap.MAP_PRIVATE).close()
    except (OSError, MemoryError):
        raise RuntimeError("can't start new thread") from None
    _start(self)


def _too_little(command: str, needed: float, limit: int) -> str:
    return (
        f"expected {needed / 1e9:g} GB of address space, which {command} needs to start, got a "
        f"limit of {limit / 1e9:.2g} GB; raise it (`ulimit -v`, or the job's limit)"
    )


def _can_start(threads: int) -> bool:
    """Whether this number of threads can run at the same time; they are ended again."""
    end, started = threading.Event(), []
    try:
        for _ in range(threads):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # "can't start new thread"
        return False
    finally:
        end.set()
        for thread in started:
            thread.join()
    return True


def _limit_of(name: str) -> int | None:
    """Return a limit of this process by its name in `resource`; None if there is none."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(getattr(resource, name))
    return None if limit == resource.RLIM_INFINITY else limit


def _is(error: BaseException, number: int | None, numbers: set[int], words: tuple[str, ...]) -> bool:
    return number in numbers or any(one in str(error).lower() for one in words)


def _of_the_system(error: OSError) -> str:
    place = "" if error.filename is None else f"{error.filename}: "
    reason = error.strerror or error
    return f"{place}expected a readable and writable file, got: {reason}; check the path, the disk and the permissions"
