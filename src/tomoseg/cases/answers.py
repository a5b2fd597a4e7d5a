"""Answers of workers in other processes: a record, or the error that ends the command."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any


def attempt(kind: str, make: Callable[[], Any]) -> tuple[str, Any]:
    """Call a function and return its result with a name, or `error` with the exception.

    Args:
        kind: Name of the result.
        make: Function to call.

    Example:
        >>> attempt("done", lambda: 2)
        ('done', 2)
    """
    try:
        return kind, make()
    except Exception as error:
        return "error", _that_pickles(error)


def _that_pickles(error: Exception) -> Exception:
    """Return an error that can be pickled, with its traceback as a note."""
    told = "".join(traceback.format_exception(error))
    try:
        same = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own data
    except Exception:
        return RuntimeError(told)
    if type(same) is not type(error):
        return RuntimeError(told)
    error.add_note(told)
    return error
