"""Where the time of a prediction goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stages:
    """Seconds by stage; a stage within another, in the same thread, counts for itself alone.

    Example:
        >>> stages = Stages()
        >>> with stages("read"):
        ...     pass
        >>> list(stages.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open = threading.local()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the block's time to a stage."""
        outer: str | None = getattr(self._open, "stage", None)
        self._open.stage = name
        began = time.perf_counter()
        try:
            yield
        finally:
            self._open.stage = outer
            self._add(name, time.perf_counter() - began)
            if outer is not None:
                self._add(outer, began - time.perf_counter())

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def of(self, name: str, source: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time that making them takes counts to a stage."""
        items = iter(source)
        while True:
            with self(name):
                item = next(items, None)
            if item is None:
                return
            yield item
