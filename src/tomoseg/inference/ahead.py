"""Doing the next thing while the last one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import Queue
from typing import TypeVar

Item = TypeVar("Item")


def ahead(source: Generator[Item, None, None], most: int = 1) -> Iterator[Item]:
    """The same items, made in a thread of their own while the caller works on earlier ones.

    The thread ends with the source, with its first error, which is raised here, or when this generator is closed.

    Args:
        source: Makes the items; it is run in the other thread only.
        most: How many may be waiting.

    Example:
        >>> list(ahead(letter.upper() for letter in "abc"))
        ['A', 'B', 'C']
    """
    waiting: Queue[tuple[Item | None, BaseException | None]] = Queue(most)
    closed = threading.Event()
    end = StopIteration()

    def make() -> None:
        problem: BaseException = end
        try:
            for item in source:
                waiting.put((item, None))
                if closed.is_set():
                    return
        except BaseException as error:  # whatever it is, it is the caller's
            problem = error
        finally:
            source.close()
        waiting.put((None, problem))

    thread = threading.Thread(target=make, name="tomoseg-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, problem = waiting.get()
            if problem is end:
                return
            if problem is not None:
                raise problem
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        while thread.is_alive():
            if not waiting.empty():
                waiting.get()
            thread.join(0.01)
