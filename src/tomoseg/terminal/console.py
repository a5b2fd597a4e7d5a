"""Tables and messages in the terminal."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tomoseg.files.stores.addresses import in_urls
from tomoseg.language.sentences import sentence
from tomoseg.language.words import pointed, say, say_many
from tomoseg.notices import Notice
from tomoseg.terminal.fitting import fitted

FILE_WIDTH = 200
"""Columns where the output is no terminal; a table that is narrower takes what it needs."""

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that terminals take for commands: all that control but tabs and ends of lines."""


class PrintError(Exception):
    """What is to be printed cannot be; `__cause__` is the system's error."""


class _Console(Console):
    """A console that tells what it cannot print from what else the system refuses.

    Attributes:
        writing: Held while something is printed or drawn, from the look at the rows that stand there to the last
            character; otherwise a row drawn in between by another thread would be taken for a line, or the reverse.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.writing = threading.RLock()

    def print(self, *objects: Any, **keywords: Any) -> None:
        """As in rich, but lines end between words.

        Raises:
            PrintError: If nobody reads it, as with `| head`, or it cannot be written.
        """
        wrapped = self.wrapped if keywords.get("soft_wrap") is None else str
        try:
            with self.writing:
                super().print(*(wrapped(_plain(one)) if isinstance(one, str) else one for one in objects), **keywords)
        except OSError as error:
            self.quiet = True
            raise PrintError from error

    def wrapped(self, text: str) -> str:
        """A text in lines that end between words, where a terminal would cut one; elsewhere as it is.

        What is longer than a line, such as a path, stays whole, so that it can be copied.
        """
        if not self.is_terminal:
            return text
        fill = textwrap.TextWrapper(
            self.width,
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
            expand_tabs=False,
        ).fill
        return "\n".join(map(fill, text.split("\n")))

    def on_broken_pipe(self) -> None:
        """Rich would end the process, from any thread.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _plain(text: str) -> str:
    """A text as people read it, who may have it from files of others: a licence, the name of a file or a structure."""
    return _COMMANDS.sub("?", in_urls(text))


def _is_one_terminal() -> bool:
    """Whether results and messages go to the same screen."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return False
    return os.fstat(sys.stdout.fileno()).st_rdev == os.fstat(sys.stderr.fileno()).st_rdev


# names of files and cases are data: neither markup nor emoji codes
_WIDTH = None if sys.stdout.isatty() else FILE_WIDTH
out = _Console(highlight=False, soft_wrap=True, markup=False, emoji=False, width=_WIDTH)
# one screen has one console, else a line would be written into a bar that another console draws
err = out if _is_one_terminal() else _Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: the first column to the left, the others to the right; None is shown as a dash.

    Where it is too wide for the terminal it wraps between words, then goes on in another table below (`fitting.py`).
    """
    cells = [[_written(value) for value in row] for row in rows]
    for number, shown in enumerate(fitted(columns, cells, out.width)):
        grid = Table(title=None if number else in_urls(title), title_justify="left", title_style="bold")
        for one in shown:
            justify: Literal["left", "right"] = "left" if one.number == 0 else "right"
            grid.add_column(columns[one.number], justify=justify, width=one.width, overflow="fold")
        for row in cells:
            grid.add_row(*(row[one.number] for one in shown))
        out.print(grid)


def _written(value: object) -> str:
    if value is None:
        return "-"
    return pointed(f"{value:.3f}") if isinstance(value, float) else _plain(str(value))


def warn_all(messages: Sequence[str | Notice], at_most: int = 20, elsewhere: str = "") -> None:
    """Print warnings, and notes as such, the first few of many; what is decisive comes first and is never left out.

    Args:
        messages: Finished English sentences, in the order in which the others are told.
        at_most: So many, unless more are decisive.
        elsewhere: Where the others are told, if they are, in the language of this process.
    """
    decisive = sum(map(_is_decisive, messages))
    others = itertools.count(decisive)
    shown = [message for message in messages if _is_decisive(message) or next(others) < at_most]
    for message in sorted(shown, key=_is_decisive, reverse=True):
        is_note = isinstance(message, Notice) and message.level == "note"
        _message(say("note:") if is_note else say("warning:"), "yellow", sentence(str(message)))
    if left_out := len(messages) - len(shown):
        less = say_many(left_out, "and 1 less important one", "and {count} less important ones")
        more = less if decisive else say("and {count} more", count=left_out)
        _message(say("warning:"), "yellow", more + (f"; {elsewhere}" if elsewhere else ""))


def _is_decisive(message: str | Notice) -> bool:
    return isinstance(message, Notice) and message.is_decisive


def fail(failures: Mapping[str, str]) -> None:
    """Print what failed and why."""
    for name, reason in failures.items():
        _message(say("failed:"), "red", say("{name}: {text}", name=name, text=sentence(reason)))


def error(message: str) -> None:
    """Print why nothing could start, a finished English sentence."""
    _message(say("error:"), "red", sentence(message))


def _message(word: str, colour: str, text: str) -> None:
    with contextlib.suppress(PrintError):  # where messages cannot be written, the command goes on without
        whole = err.wrapped(f"{word} {_plain(text)}")
        err.print(Text.assemble((word, colour), whole.removeprefix(word)))
