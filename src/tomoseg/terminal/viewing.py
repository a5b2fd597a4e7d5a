"""Where a page is, in the terminal."""

from __future__ import annotations

from pathlib import Path

from tomoseg.language.words import later, pointed, say
from tomoseg.terminal.console import out


def show_address(address: str, *, ends_with_page: bool = True) -> None:
    """The page's address, and how it ends.

    Args:
        address: The address of the page.
        ends_with_page: Whether it also ends when the page is closed.
    """
    out.print(address)
    with_page, alone = later("Close the page, or press Ctrl-C, to end."), later("Press Ctrl-C to end.")
    out.print(say(with_page if ends_with_page else alone))


def show_saved(path: Path, size: int) -> None:
    """Where a page was saved, and how large it is.

    Args:
        path: The path of the page.
        size: In bytes.
    """
    megabytes = pointed(f"{size / 1e6:.1f}")
    out.print(
        say("{path}: {size} MB; open it in a browser; it needs no server and no network", path=path, size=megabytes)
    )
