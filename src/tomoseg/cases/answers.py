"""What a worker in another process answers: a record, or the error that ends the command."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any


def attempt(kind: str, make: Callable[[], Any]) -> tuple[str, Any]:
    """What is made, under that name; or the error, under `error`.

    Args:
        kind: What it is.
        make: Makes it.

    Example:
        >>> attempt("done", lambda: 2)
        ('done', 2)
    """
    try:
        return kind, make()
    except Exception as error:
        return "error", _that_pickles(error)


def _that_pickles(error: Exception) -> Exception:
    """An error that reaches another process, with where it came from."""
    told = "".join(traceback.format_exception(error))
    try:
        same = pickle.loads(pickle.dumps(error))  # noqa: S301  # of our own
    except Exception:
        return RuntimeError(told)
    if type(same) is not type(error):
        return RuntimeError(told)
    error.add_note(told)
    return error
