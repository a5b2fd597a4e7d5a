"""Warnings about a scan, to be written into a picture of it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tomoseg.language.sentences import sentence
from tomoseg.language.words import say_many
from tomoseg.notices import Notice
from tomoseg.pictures.canvas import Sheet
from tomoseg.settings import Language

FIRST, OTHERS = "#ff7a6b", "#ffc15e"
MOST_LINES = 4
"""Largest number of lines, unless there are more decisive warnings."""

_LINE, _SIZE, _GAP = 22, 16, 6
_LONGEST = 165
"""Number of characters in a line as wide as a sheet."""


def lines_of(warnings: Sequence[str | Notice], lang: Language = "en") -> list[tuple[str, str]]:
    """Return lines and their colours: the first warning in full, all other decisive ones, and as many others as fit.

    Args:
        warnings: The warnings, in order.
        lang: Language of the lines.
    """
    if not warnings:
        return []
    first = _wrapped(sentence(str(warnings[0]), lang))
    grave = [sentence(str(text), lang) for text in warnings[1:] if _is_decisive(text)]
    rest = [sentence(str(text), lang) for text in warnings[1:] if not _is_decisive(text)]
    room = max(MOST_LINES - len(first) - len(grave), 0)
    others = rest if len(rest) <= room else rest[: max(room - 1, 0)]
    lines = [(text, FIRST) for text in (*first, *map(_shortened, grave))]
    lines += [(_shortened(text), OTHERS) for text in others]
    more = len(rest) - len(others)
    return [*lines, (say_many(more, "+1 more warning", "+{count} more warnings", lang), OTHERS)] if more else lines


def _wrapped(text: str) -> list[str]:
    """Wrap a text to at most `MOST_LINES - 1` lines."""
    lines = textwrap.wrap(text, _LONGEST) or [""]
    if len(lines) < MOST_LINES:
        return lines
    return textwrap.wrap(text, _LONGEST, max_lines=MOST_LINES - 1, placeholder=" …")


def _shortened(text: str) -> str:
    return textwrap.shorten(text, _LONGEST, placeholder=" …")


def _is_decisive(warning: str | Notice) -> bool:
    return isinstance(warning, Notice) and warning.is_decisive


def warning_height(lines: Sequence[tuple[str, str]]) -> int:
    """Return the height of `draw_warnings` in pixels; 0 without lines."""
    return len(lines) * _LINE + _GAP if lines else 0


def draw_warnings(sheet: Sheet, lines: Sequence[tuple[str, str]], top: float, margin: float) -> None:
    """Draw warnings below each other.

    Args:
        sheet: The sheet.
        lines: The result of `lines_of`.
        top: Top edge in pixels.
        margin: Free space at the left in pixels.
    """
    for number, (text, colour) in enumerate(lines):
        weight = "bold" if colour == FIRST else "normal"
        middle = top + (number + 0.5) * _LINE
        sheet.text(margin, middle, text, _SIZE, colour, longest=_LONGEST + 5, weight=weight)
