"""What was noticed about a scan, written into its picture, which is passed on without the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tomoseg.pictures.canvas import Sheet
from tomoseg.pictures.words import say
from tomoseg.settings import Language

FIRST, OTHERS = "#ff7a6b", "#ffc15e"
MOST_LINES = 4

_LINE, _SIZE, _GAP = 22, 16, 6
_LONGEST = 165
"""Letters in a line of a sheet's width."""


def lines_of(warnings: Sequence[str], lang: Language = "en") -> list[tuple[str, str]]:
    """The lines and their colours: the first warning in full, of the others as many as fit, and how many do not.

    Args:
        warnings: The decisive first.
        lang: Of what is added to them.
    """
    if not warnings:
        return []
    first = textwrap.wrap(warnings[0], _LONGEST) or [""]
    if len(first) > MOST_LINES - 1:
        first = textwrap.wrap(warnings[0], _LONGEST, max_lines=MOST_LINES - 1, placeholder=" …")
    room = MOST_LINES - len(first)
    others = warnings[1 : 1 + room] if len(warnings) - 1 <= room else warnings[1:room]
    lines = [(line, FIRST) for line in first]
    lines += [(textwrap.shorten(text, _LONGEST, placeholder=" …"), OTHERS) for text in others]
    more = len(warnings) - 1 - len(others)
    return [*lines, (say("+{count} more warnings", lang, count=more), OTHERS)] if more else lines


def warning_height(lines: Sequence[tuple[str, str]]) -> int:
    """Pixels that `draw_warnings` takes; none for none."""
    return len(lines) * _LINE + _GAP if lines else 0


def draw_warnings(sheet: Sheet, lines: Sequence[tuple[str, str]], top: float, margin: float) -> None:
    """Write them below each other.

    Args:
        sheet: What to draw on.
        lines: Of `lines_of`.
        top: Where they begin.
        margin: What stays free at the left.
    """
    for number, (text, colour) in enumerate(lines):
        weight = "bold" if colour == FIRST else "normal"
        middle = top + (number + 0.5) * _LINE
        sheet.text(margin, middle, text, _SIZE, colour, longest=_LONGEST + 5, weight=weight)
