"""Check that all workers of a command compute alike, so that records do not depend on who made them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tomoseg.errors import ConfigError
from tomoseg.language.words import part
from tomoseg.settings import written

OnReady = Callable[[Mapping[str, Any]], None]
"""Called with what every record depends on, once it is known."""


MOST_NAMED = 3
"""Differences named in a message."""


class SameComputation:
    """Refuses workers that do not compute as the first one does.

    Args:
        on_ready: Called with what the first worker's records depend on.
    """

    def __init__(self, on_ready: OnReady) -> None:
        self._on_ready = on_ready
        self._first: Mapping[str, Any] | None = None

    def __call__(self, about: Mapping[str, Any]) -> None:
        """Register a worker that is ready.

        Raises:
            ConfigError: If it does not compute as the first one does.
        """
        if self._first is None:
            self._first = about
            self._on_ready(about)
        elif about != self._first:
            raise ConfigError(mismatch_message(self._first, about))


def mismatch_message(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the message for two workers that do not compute alike.

    Example:
        >>> mismatch_message({"tomoseg": "1.0", "model": 1}, {"tomoseg": "1.1", "model": 1})[:64]
        'expected all workers to compute alike, got tomoseg 1.0 and 1.1; '
    """
    told = ", ".join(itertools.islice(_differences(first, other), MOST_NAMED))
    return (
        f"expected all workers to compute alike, got {told}; install the same version of tomoseg on all "
        "machines, and set --engine, --device and --precision"
    )


def _differences(first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs, options one by one."""
    for name in {**first, **other}:
        one, two = first.get(name), other.get(name)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            yield from _differences(one, two)
        elif one != two:
            yield f"{name} {_in_words(one)} and {_in_words(two)}"


def _in_words(value: object) -> str:
    return part("not given") if value is None else written(value)


def another_version(ours: str, theirs: str) -> str:
    """Return the message for a worker with another version of tomoseg.

    Args:
        ours: Version of the command.
        theirs: Version of the worker, and its machine.

    Example:
        >>> another_version("1.1", "1.0 on node7")
        'expected tomoseg 1.1 on all machines, got 1.0 on node7; install the same version on all of them'
    """
    return f"expected tomoseg {ours} on all machines, got {theirs}; install the same version on all of them"
