"""Loops compiled by numba, kept between processes where there is a place for them.

numba keeps what it compiled beside the source, else in the user's cache folder, and refuses to start where it can
write to neither. Then kernels are compiled in each process.
"""

from __future__ import annotations

from collections.abc import Callable
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
            return njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError:  # "no locator available": neither place can be written
            return njit(nogil=True, error_model="numpy", **options)(function)

    return compiled
