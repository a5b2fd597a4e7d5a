"""Cases done where `--on` says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tomoseg.cases.place import place_of
from tomoseg.cases.processes import in_processes
from tomoseg.cases.work import Case, Done, Tell, Work
from tomoseg.errors import ConfigError
from tomoseg.options import HERE, Spread

OnReady = Callable[[Mapping[str, Any]], None]
"""Told what every record depends on, once it is known."""


def do_cases(
    work: Work[Case, Done],
    cases: Sequence[Case],
    spread: Spread = HERE,
    tell: Tell = lambda case, done, total: None,
    on_ready: OnReady = lambda about: None,
) -> Iterator[tuple[int, Done]]:
    """Do each case; a number and a record of each, as they come: in order where one process does them.

    Args:
        work: What is done to each.
        cases: Which.
        spread: Who does them.
        tell: Told how far a case is, where this process does it.
        on_ready: Told what every record depends on.

    Raises:
        TomosegError: Whatever the work raises that is not of one case.
        ConfigError: If workers cannot be had, or do not compute alike.

    Example:
        >>> from tomoseg.cases.work import Each
        >>> list(do_cases(Each(str.upper, str.join), ["a", "b"]))
        [(0, 'A'), (1, 'B')]
    """
    place = place_of(spread)
    if place.kind == "here":
        opened = work.open()
        on_ready(opened.about)
        yield from enumerate(opened.all(cases, tell))
        return
    alike = _Alike(on_ready)
    yield from in_processes(work, cases, place.workers, alike)


class _Alike:
    """Refuses workers that do not compute alike: their records would depend on who made them.

    Args:
        on_ready: Told of the first.
    """

    def __init__(self, on_ready: OnReady) -> None:
        self._on_ready = on_ready
        self._first: Mapping[str, Any] | None = None

    def __call__(self, about: Mapping[str, Any]) -> None:
        """Take note of a worker that is ready.

        Raises:
            ConfigError: If it does not compute as the first.
        """
        if self._first is None:
            self._first = about
            self._on_ready(about)
        elif about != self._first:
            raise ConfigError(unlike(self._first, about))


def unlike(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """One sentence for two workers that do not compute alike.

    Example:
        >>> unlike({"tomoseg": "1.0", "model": 1}, {"tomoseg": "1.1", "model": 1})[:64]
        'expected all workers to compute alike, got tomoseg 1.0 and 1.1; '
    """
    names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
    told = ", ".join(f"{name} {first.get(name)} and {other.get(name)}" for name in names[:3])
    return (
        f"expected all workers to compute alike, got {told}; install one version of tomoseg on all machines, and name "
        "what computes by --engine, --device and --precision"
    )
