"""Where the time of a prediction goes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stages:
    """Seconds by stage.

    Example:
        >>> stages = Stages()
        >>> with stages("read"):
        ...     pass
        >>> list(stages.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the block's time to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def of(self, name: str, source: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time that making them takes counts to a stage."""
        items = iter(source)
        while True:
            with self(name):
                item = next(items, None)
            if item is None:
                return
            yield item
