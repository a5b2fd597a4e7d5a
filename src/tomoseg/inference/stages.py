"""Timing of the stages of a prediction."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stages:
    """Records seconds by stage.

    Example:
        >>> stages = Stages()
        >>> with stages("read"):
        ...     pass
        >>> list(stages.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._making = threading.local()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add a block's duration to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, time.perf_counter() - began)

    def of(self, name: str, source: Iterable[Item]) -> Iterator[Item]:
        """Yield the items of an iterable, and add the time that making them takes to a stage.

        If part of it is already timed by another `of` in the same thread, that part counts there alone.
        """
        items = iter(source)
        while True:
            outer: str | None = getattr(self._making, "stage", None)
            self._making.stage = name
            began = time.perf_counter()
            item = next(items, None)
            seconds = time.perf_counter() - began
            self._making.stage = outer
            self._add(name, seconds)
            if outer is not None:
                self._add(outer, -seconds)
            if item is None:
                return
            yield item

    def include(self, seconds: dict[str, float]) -> None:
        """Add stages that were timed elsewhere, in their order."""
        for name, taken in seconds.items():
            self._add(name, taken)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
