"""Run-time checks of every annotation in `tomoseg`, shapes of arrays included, for the tests only.

`tests/conftest.py` calls `install` before anything imports `tomoseg`.
"""

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import jaxtyping
import numba
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError))
"""An `int` is taken where a `float` is annotated, as type checkers do."""


def install() -> None:
    """Check all calls of functions that are imported from `tomoseg` from now on."""
    for name in ("jit", "njit", "vectorize", "guvectorize"):
        setattr(numba, name, _compiling_unchecked(getattr(numba, name)))
    jaxtyping.jaxtyped = _without_shapes_where_there_are_none(jaxtyping.jaxtyped)
    jaxtyping.install_import_hook("tomoseg", "tests.typecheck.check")


def _without_shapes_where_there_are_none(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """Comparing the edges of arrays takes much longer than the check itself, also where no array is annotated."""

    def decorate(*, typechecker: Any) -> Any:
        with_shapes = jaxtyped(typechecker=typechecker)
        return lambda thing: typechecker(thing) if _is_without_shapes(thing) else with_shapes(thing)

    return decorate


def _is_without_shapes(thing: Any) -> bool:
    if not inspect.isfunction(thing):
        return False
    try:
        hints = get_type_hints(thing, include_extras=True)
    except Exception:  # a name that is not defined yet, which jaxtyping leaves unchecked
        return False
    return not any(map(_has_shape, hints.values()))


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, list):  # of what a function takes
        return any(map(_has_shape, hint))
    return type(hint).__module__.startswith("jaxtyping") or any(map(_has_shape, get_args(hint)))


def _compiling_unchecked(compiler: Callable[..., Any]) -> Callable[..., Any]:
    """A numba decorator that compiles the function itself, since numba cannot compile the check around it."""

    def decorate(*args: Any, **options: Any) -> Any:
        if args and inspect.isfunction(args[0]):
            return compiler(inspect.unwrap(args[0]), *args[1:], **options)
        compile_ = compiler(*args, **options)
        return lambda function: compile_(inspect.unwrap(function))

    return decorate
