"""Loops compiled by numba, kept between processes where there is a place for them.

numba keeps what it compiled beside the source, else in the user's cache folder, and refuses to start where it can
write to neither. Then kernels are compiled in each process.

What was kept holds while neither the file changes nor the constants and kernels of other files that are compiled in:
numba itself looks at the one file only. It is compiled anew where it cannot be read, as after an update in which a type
has another name.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called, free of Python's lock.

    Division by zero gives what NumPy gives: a check for it would keep loops from becoming vectors.

    Args:
        options: The options of `numba.njit`, such as `fastmath`.

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
            index._source_stamp = (index._source_stamp, _compiled_in(function))
            index._load_index = _empty_if_unreadable(index._load_index)
            return made
        except RuntimeError:  # "no locator available": neither place can be written
            return njit(nogil=True, error_model="numpy", **options)(function)

    return compiled


inlined = kernel(fastmath=True, forceinline=True)
"""Compile a function into each kernel that calls it: for a few operations on arrays, whose references a call counts."""


def _empty_if_unreadable(load: Callable[[], dict[Any, str]]) -> Callable[[], dict[Any, str]]:
    """Load numba's index of what was kept: it names types, and loading fails if one of them is gone."""

    def loaded() -> dict[Any, str]:
        try:
            return load()
        except (AttributeError, ImportError, EOFError, pickle.UnpicklingError):
            return {}

    return loaded


def _compiled_in(function: Callable[..., Any]) -> str:
    """A digest of the constants that a function's file knows, and of the kernels of other files that it may call."""
    known: list[tuple[str, str]] = []
    for name, value in sorted(function.__globals__.items()):
        if isinstance(value, int | float | np.generic):
            known.append((name, repr(value)))
        elif hasattr(value, "py_func") and value.__module__ != function.__module__:
            known.append((name, repr(getattr(getattr(value._cache, "_cache_file", None), "_source_stamp", None))))
    return hashlib.sha256(repr(known).encode()).hexdigest()
