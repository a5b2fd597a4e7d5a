"""What a machine refuses: memory, threads, processes, files; in one sentence that says what to lower."""

from __future__ import annotations

import errno

_MEMORY = (
    "allocate memory",
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "failed to map segment",
    "not enough memory",
    "paging file is too small",
)
_THREADS = ("can't start new thread", "resource temporarily unavailable", "thread constructor failed")

OF_MEMORY = (
    "expected enough memory, got no more of it; lower what is held at once (--max-memory of predict, --workers of "
    "preprocess and train, --batch-size of train), or raise the limit (`ulimit -v`, or that of the job)"
)
OF_THREADS = (
    "expected another thread or process, got none; set OMP_NUM_THREADS=1, lower --workers where there is one, or raise "
    "the limit (`ulimit -u`, `ulimit -v`, or that of the job)"
)
OF_FILES = "expected to open one more file, got too many that are open; lower --workers, or raise `ulimit -n`"


def refusal(error: BaseException) -> str | None:
    """One sentence for an error of the machine's; None for any other error.

    Args:
        error: As it was caught. Libraries have no common class for these, so their words count, too.

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
    if number in {errno.EMFILE, errno.ENFILE}:
        return OF_FILES
    return _of_the_system(error) if isinstance(error, OSError) else None


def _is(error: BaseException, number: int | None, numbers: set[int], words: tuple[str, ...]) -> bool:
    return number in numbers or any(one in str(error).lower() for one in words)


def _of_the_system(error: OSError) -> str:
    place = "" if error.filename is None else f"{error.filename}: "
    reason = error.strerror or error
    return f"{place}expected to read or write it, got: {reason}; check the path, the disk and what is allowed there"
