"""Pipelining in a second thread: items are made ahead of their use, or finished behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def prefetch(source: Generator[Item, None, None], most: int = 1) -> Iterator[Item]:
    """Yield the items of a generator that runs in a thread of its own, ahead of the caller.

    The thread ends with the generator, with its first error, which is raised here, or when this generator is closed.

    Args:
        source: The generator of the items; it runs in the other thread only.
        most: Maximum number of items made or in the making that are not yet taken.

    Example:
        >>> list(prefetch(letter.upper() for letter in "abc"))
        ['A', 'B', 'C']
    """
    made: SimpleQueue[tuple[Item, None] | tuple[None, BaseException]] = SimpleQueue()
    room = threading.Semaphore(most)
    closed = threading.Event()

    def make() -> None:
        try:
            while room.acquire() and not closed.is_set():
                made.put((next(source), None))
        except BaseException as error:  # raised in the caller's thread, StopIteration included
            made.put((None, error))
        finally:
            source.close()

    thread = threading.Thread(target=make, name="tomoseg-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, problem = made.get()
            if isinstance(problem, StopIteration):
                return
            if problem is not None:
                raise problem
            room.release()
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        room.release()
        thread.join()


def write_behind(items: Iterable[Item], work: Callable[[Item], Done]) -> Iterator[Done]:
    """Apply a function to each item in a thread of its own, while the caller's thread makes the next item.

    Results come in order, each once the next item is made; one item is processed at a time.

    Args:
        items: The items, made in the caller's thread.
        work: The function, for example one that writes a result; its first error is raised here.

    Example:
        >>> list(write_behind("abc", str.upper))
        ['A', 'B', 'C']
    """
    with ThreadPoolExecutor(1, thread_name_prefix="tomoseg-write-behind") as thread:
        working: Future[Done] | None = None
        for item in items:
            if working is not None:
                yield working.result()
            working = thread.submit(work, item)
        if working is not None:
            yield working.result()
