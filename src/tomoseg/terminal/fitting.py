"""How a table fits into a terminal: headings and cells wrap between words, and no number and no name is ever cut.

A table that is too wide even so becomes several, below each other, each with the first column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

BORDER, PADDING = 1, 2
"""What a table takes for its right edge; and each column besides its text, with the line before it."""


@dataclass(frozen=True)
class Column:
    """A column of one of the tables.

    Attributes:
        number: Which of all.
        width: The width of its text, in characters.
    """

    number: int
    width: int


@dataclass(frozen=True)
class _Widths:
    """What a column needs: with its longest word on a line, and with nothing wrapped."""

    least: int
    whole: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Widths:
        words = [cell_len(word) for text in texts for word in text.split()]
        return cls(max(words, default=1), max((cell_len(text) for text in texts), default=1) or 1)


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[Column]]:
    """The tables that show all columns in a width.

    Args:
        columns: Headings.
        rows: Cells as they are written.
        width: Characters in a line.

    Returns:
        The columns of each; the first of all is in all of them.

    Example:
        >>> fitted(("name", "a b", "c"), [("liver", "1.5", "2.5")], 100)
        [[Column(number=0, width=5), Column(number=1, width=3), Column(number=2, width=3)]]
        >>> [[column.number for column in table] for table in fitted(("name", "a", "b"), [("liver", "1.5", "2.5")], 16)]
        [[0, 1], [0, 2]]
    """
    needs = [_Widths.of([column, *(row[number] for row in rows)]) for number, column in enumerate(columns)]
    tables: list[list[int]] = [[0]]
    for number in range(1, len(needs)):
        together = [*tables[-1], number]
        if len(tables[-1]) > 1 and _taken([needs[one].least for one in together]) > width:
            together = [0, number]
            tables.append(together)
        tables[-1] = together
    return [_spread(table, needs, width) for table in tables]


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + len(widths) * (PADDING + BORDER) + BORDER


def _spread(table: Sequence[int], needs: Sequence[_Widths], width: int) -> list[Column]:
    """Widths of one table's columns: what each needs, and what is over to those that would wrap most."""
    widths = {number: needs[number].least for number in table}
    spare = width - _taken(list(widths.values()))
    if spare < 0:  # even one column beside the first is too much: long names fold
        widths[table[0]] = max(widths[table[0]] + spare, 1)
    for _ in range(spare):
        most = max(table, key=lambda number: needs[number].whole - widths[number])
        if widths[most] >= needs[most].whole:
            break
        widths[most] += 1
    return [Column(number, widths[number]) for number in table]
