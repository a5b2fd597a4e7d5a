"""Names and colours of the structures in a picture, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tomoseg.labels import LabelSet
from tomoseg.language.words import say
from tomoseg.pictures.canvas import BRIGHT, DIM, Colour, Sheet, drawable
from tomoseg.pictures.structure_names import readable
from tomoseg.settings import Language

MOST_IN_LEGEND = 40

_MOST_COLUMNS, _LEAST_COLUMNS = 5, 3
_LINE, _TEXT, _INDENT = 23, 15, 21
_CHARACTER = 8.5
"""Mean width in pixels of a character of the text."""


@dataclass(frozen=True)
class LegendEntry:
    """Details of a structure in a legend.

    Attributes:
        text: Text after the structure's name.
        filled: Whether the square is filled; it is empty for structures that no picture shows.
    """

    text: str = ""
    filled: bool = True

    @property
    def after_name(self) -> str:
        """The text with the comma that separates it from the name; empty if there is none."""
        return f", {self.text}" if self.text else ""


@dataclass(frozen=True)
class Legend:
    """Names and colours of structures in three to five columns, as many as the longest name allows.

    Attributes:
        lines: Colour of each structure, whether its square is filled, and its text.
        columns: Number of columns.
        width: Width of the legend in pixels.
        note: Text below the structures; without structures, the only text.
    """

    lines: tuple[tuple[Colour, bool, str], ...]
    columns: int
    width: float
    note: str

    @classmethod
    def of(
        cls,
        ids: Sequence[int],
        labels: LabelSet,
        width: float,
        nothing: str,
        lang: Language = "en",
        beside: Mapping[int, LegendEntry] | None = None,
    ) -> Legend:
        """Arrange the legend of structures, at most `MOST_IN_LEGEND`; a note says how many more there are.

        Args:
            ids: Ids of the structures, in order.
            labels: The label set, which gives names and colours.
            width: Width of the legend in pixels.
            nothing: Text if there is no structure.
            lang: Language of the names.
            beside: Details of the structures, by id.
        """
        by_id = {structure.id: structure for structure in labels}
        named = [by_id[value] for value in ids[:MOST_IN_LEGEND]]
        entries = [LegendEntry() if beside is None else beside[structure.id] for structure in named]
        names = [readable(structure.name, lang) for structure in named]
        columns, texts = _arranged(names, [entry.after_name for entry in entries], width)
        lines = tuple((one.colour, entry.filled, text) for one, entry, text in zip(named, entries, texts, strict=True))
        note = "" if named else nothing
        if len(ids) > len(named):
            note = say("+{count} more", lang, count=len(ids) - len(named))
        return cls(lines, columns, width, note)

    @property
    def rows(self) -> int:
        """The number of rows of structures."""
        return -(-len(self.lines) // self.columns)

    @property
    def height(self) -> int:
        """The height in pixels, at least one line."""
        return max(self.rows + bool(self.lines and self.note), 1) * _LINE

    @property
    def has_empty_squares(self) -> bool:
        """Whether a square is not filled."""
        return any(not filled for _, filled, _ in self.lines)

    def draw(self, sheet: Sheet, left: float, top: float) -> None:
        """Draw the legend, downwards and then to the right."""
        column = self.width / self.columns
        for place, (colour, filled, text) in enumerate(self.lines):
            x, y = left + place // self.rows * column, top + place % self.rows * _LINE
            sheet.swatch(x, y + 5, 13, colour, filled=filled)
            sheet.text(x + _INDENT, y + _LINE / 2, text, _TEXT)
        if self.note:
            size, colour_of_note = (_TEXT, DIM) if self.lines else (16, BRIGHT)
            sheet.text(left, top + (self.rows + 0.5) * _LINE, self.note, size, colour_of_note)


def _arranged(names: Sequence[str], after: Sequence[str], width: float) -> tuple[int, list[str]]:
    """Return the number of columns, and the names with the texts after them as they fit into these."""
    longest = max((len(name) + len(text) for name, text in zip(names, after, strict=True)), default=0)
    fitting = (n for n in range(_MOST_COLUMNS, _LEAST_COLUMNS, -1) if longest <= _characters(width, n))
    columns = next(fitting, _LEAST_COLUMNS)
    room = _characters(width, columns)
    return columns, [drawable(name, max(room - len(text), 8)) + text for name, text in zip(names, after, strict=True)]


def _characters(width: float, columns: int) -> int:
    """Return how many characters fit beside the square in one of `columns` columns."""
    return int((width / columns - _INDENT) / _CHARACTER)
