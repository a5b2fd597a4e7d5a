"""Lines that say what is waited for, where no row on a terminal does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tomoseg.terminal.console import PrintError, err

FIRST_SECONDS = 10.0
"""What takes no longer needs no line."""

LINE_SECONDS = 60.0
"""From then on a line is written so often."""


@contextmanager
def lines_while(words: Callable[[], str]) -> Iterator[None]:
    """Write a line now and then while the block goes on, unless rows are drawn.

    Args:
        words: Returns what is waited for or done, as a finished sentence in the language of this process; if it is
            empty, no line is written.
    """
    ended = threading.Event()

    def tell() -> None:
        wait = FIRST_SECONDS
        with suppress(PrintError):
            while not ended.wait(wait):
                if said := words():
                    err.print(said)
                wait = LINE_SECONDS

    teller = threading.Thread(target=tell, name="tomoseg-waiting", daemon=True)
    if not err.is_interactive:
        teller.start()
    try:
        yield
    finally:
        ended.set()
        if teller.ident is not None:
            teller.join()
