"""Stopping a long run in good order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tomoseg.language.words import say
from tomoseg.terminal.console import PrintError, err


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or termination request into a wish to stop; a second Ctrl-C stops at once."""
    request = StopRequest()
    before = {number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Take a termination request for a Ctrl-C, so that what is held is given back: clusters send it at a time limit."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopRequest:
    """Whether someone asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Whether to stop at the next good moment."""
        return self.asked

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal.

        Raises:
            KeyboardInterrupt: If it is the second one.
        """
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        with contextlib.suppress(PrintError):
            err.print(say("Stopping after this step; press Ctrl-C again to stop at once."))
