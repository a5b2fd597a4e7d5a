"""Where a page is, in the terminal."""

from __future__ import annotations

from pathlib import Path

from tomoseg.terminal.console import out


def show_address(address: str, *, ends_with_page: bool = True) -> None:
    """The page's address, and how it ends.

    Args:
        address: The address of the page.
        ends_with_page: Whether it also ends when the page is closed.
    """
    out.print(address)
    out.print("Close the page, or press Ctrl-C, to end." if ends_with_page else "Press Ctrl-C to end.")


def show_saved(path: Path, size: int) -> None:
    """Where a page was saved, and how large it is.

    Args:
        path: The path of the page.
        size: In bytes.
    """
    out.print(f"{path}: {size / 1e6:.1f} MB; open it in a browser, no server and no network are needed")
