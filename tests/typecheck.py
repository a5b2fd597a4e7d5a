"""Run-time checks of every annotation in `tomoseg`, shapes of arrays included, for the tests only.

`tests/conftest.py` calls `install` before anything imports `tomoseg`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numba
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An `int` is taken where a `float` is annotated, as type checkers do."""


def install() -> None:
    """Check all calls of functions that are imported from `tomoseg` from now on."""
    for name in ("jit", "njit", "vectorize", "guvectorize"):
        setattr(numba, name, _compiling_unchecked(getattr(numba, name)))
    install_import_hook("tomoseg", "tests.typecheck.check")


def _compiling_unchecked(compiler: Callable[..., Any]) -> Callable[..., Any]:
    """A numba decorator that compiles the function itself, since numba cannot compile the check around it."""

    def decorate(*args: Any, **options: Any) -> Any:
        if args and inspect.isfunction(args[0]):
            return compiler(inspect.unwrap(args[0]), *args[1:], **options)
        compile_ = compiler(*args, **options)
        return lambda function: compile_(inspect.unwrap(function))

    return decorate
