"""Where a page is, in the terminal."""

from __future__ import annotations

from tomoseg.terminal.console import out


def show_address(address: str, *, ends_with_page: bool = True) -> None:
    """The page's address, and how it ends.

    Args:
        address: Of the page.
        ends_with_page: Whether it also ends when the page is closed.
    """
    out.print(address)
    out.print("Close the page, or press Ctrl-C, to end." if ends_with_page else "Press Ctrl-C to end.")
