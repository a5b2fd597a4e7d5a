"""Doing two things at once: making the next item while the last is used, finishing the last while the next is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def ahead(source: Generator[Item, None, None], most: int = 1) -> Iterator[Item]:
    """The same items, made in a thread of their own while the caller works on earlier ones.

    The thread ends with the source, with its first error, which is raised here, or when this generator is closed.

    Args:
        source: Makes the items; it is run in the other thread only.
        most: How many may be made, or in the making, and not taken yet.

    Example:
        >>> list(ahead(letter.upper() for letter in "abc"))
        ['A', 'B', 'C']
    """
    made: SimpleQueue[tuple[Item, None] | tuple[None, BaseException]] = SimpleQueue()
    room = threading.Semaphore(most)
    closed = threading.Event()

    def make() -> None:
        try:
            while room.acquire() and not closed.is_set():
                made.put((next(source), None))
        except BaseException as error:  # whatever it is, the end included, it is the caller's
            made.put((None, error))
        finally:
            source.close()

    thread = threading.Thread(target=make, name="tomoseg-ahead", daemon=True)
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


def behind(items: Iterable[Item], work: Callable[[Item], Done]) -> Iterator[Done]:
    """What work makes of each item, in a thread of its own while the caller's makes the next item.

    Results come in order, each once the item after it is made; one item at a time is worked on.

    Args:
        items: Made in the caller's thread.
        work: Its first error is raised here.

    Example:
        >>> list(behind("abc", str.upper))
        ['A', 'B', 'C']
    """
    with ThreadPoolExecutor(1, thread_name_prefix="tomoseg-behind") as thread:
        working: Future[Done] | None = None
        for item in items:
            if working is not None:
                yield working.result()
            working = thread.submit(work, item)
        if working is not None:
            yield working.result()
