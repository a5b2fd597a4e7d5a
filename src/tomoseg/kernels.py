"""Loops compiled by numba and cached between processes where possible.

numba caches compiled code beside the source, else in the user's cache folder, and raises an error if it can write to
neither; kernels are then compiled in each process.

Cached code is valid while neither the file nor the constants and kernels that it imports change; numba itself checks
the file only. A cache that cannot be read, as after an update that renamed a type, is compiled again.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function when it is first called; it then runs without the GIL.

    Division by zero gives what NumPy gives, since a check for it would prevent vectorisation.

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
        except RuntimeError:  # "no locator available": neither folder can be written
            return njit(nogil=True, error_model="numpy", **options)(function)

    return compiled


inlined = kernel(fastmath=True, forceinline=True)
"""Compile a function into each kernel that calls it: for short functions on arrays, to avoid reference counting."""


def _empty_if_unreadable(load: Callable[[], dict[Any, str]]) -> Callable[[], dict[Any, str]]:
    """Make loading of numba's cache index return an empty one if it names types that no longer exist."""

    def loaded() -> dict[Any, str]:
        try:
            return load()
        except (AttributeError, ImportError, EOFError, pickle.UnpicklingError):
            return {}

    return loaded


def _compiled_in(function: Callable[..., Any]) -> str:
    """Return a digest of the global constants of a function's file and of the kernels that it imports."""
    known: list[tuple[str, str]] = []
    for name, value in sorted(function.__globals__.items()):
        if isinstance(value, int | float | np.generic):
            known.append((name, repr(value)))
        elif hasattr(value, "py_func") and value.__module__ != function.__module__:
            known.append((name, repr(getattr(getattr(value._cache, "_cache_file", None), "_source_stamp", None))))
    return hashlib.sha256(repr(known).encode()).hexdigest()
