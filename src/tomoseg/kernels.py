"""Loops compiled by numba, kept between processes where there is a place for them.

numba keeps what it compiled beside the source, else in the user's cache folder, and refuses to start where it can
write to neither. Then kernels are compiled in each process.

What was kept holds while no source beside the kernel changes: kernels call kernels of their room and compile its
constants in, and numba itself looks at the one file only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, free of Python's lock.

    Division by zero gives what NumPy gives: a check for it would keep loops from becoming vectors.

    Args:
        options: Of `numba.njit`, such as `fastmath`.

    Example:
        >>> @kernel()
        ... def twice(x):
        ...     return 2 * x
        >>> twice(3)
        6
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            made = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
            index = made._cache._cache_file
            index._source_stamp = (index._source_stamp, _sources(Path(function.__code__.co_filename).parent))
            return made
        except RuntimeError:  # "no locator available": neither place can be written
            return njit(nogil=True, error_model="numpy", **options)(function)

    return compiled


@cache
def _sources(room: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the sources in a folder."""
    stats = [(path.name, path.stat()) for path in sorted(room.glob("*.py"))]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
