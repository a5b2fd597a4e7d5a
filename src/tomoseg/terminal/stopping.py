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
        self.asked = self._is_at_once = False

    def __call__(self) -> bool:
        """Whether to stop at the next good moment."""
        return self.asked

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In the block, where nothing is done that is worth finishing, stop at once.

        Raises:
            KeyboardInterrupt: If someone asks to stop, or has already asked.
        """
        before, self._is_at_once = self._is_at_once, True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_at_once = before

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal.

        Raises:
            KeyboardInterrupt: If it is the second one, or comes where the command stops at once.
        """
        is_second, self.asked = self.asked, True
        if is_second or self._is_at_once:
            raise KeyboardInterrupt
        with contextlib.suppress(PrintError):
            err.print(say("Stopping after this step; press Ctrl-C again to stop at once."))
