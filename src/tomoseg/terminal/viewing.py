"""Where a page is, in the terminal."""

from __future__ import annotations

from tomoseg.terminal.console import out


def show_address(address: str) -> None:
    """The page's address, and how it ends."""
    out.print(address)
    out.print("Close the page, or press Ctrl-C, to end.")
