"""The names and colours of the structures in a picture, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tomoseg.labels import LabelSet
from tomoseg.language.words import say
from tomoseg.pictures.canvas import DIM, Sheet, drawable
from tomoseg.pictures.structure_names import readable
from tomoseg.settings import Language

MOST_IN_LEGEND = 40

_COLUMNS, _LINE = 5, 23
_LONGEST_NAME, _LONGEST_BESIDE = 32, 24


@dataclass(frozen=True)
class LegendEntry:
    """Details of a structure in a legend.

    Attributes:
        text: Text after its name.
        filled: Whether its square is filled; it is empty for structures in none of the pictures.
    """

    text: str = ""
    filled: bool = True


def legend_height(ids: Sequence[int]) -> int:
    """Return the height of `draw_legend` in pixels, at least one line."""
    rows = -(-min(len(ids), MOST_IN_LEGEND) // _COLUMNS) + (len(ids) > MOST_IN_LEGEND)
    return max(rows, 1) * _LINE


def draw_legend(
    sheet: Sheet,
    ids: Sequence[int],
    labels: LabelSet,
    top: float,
    margin: float,
    nothing: str,
    lang: Language = "en",
    beside: Mapping[int, LegendEntry] | None = None,
) -> None:
    """Draw the names and colours of structures in columns, at most `MOST_IN_LEGEND`.

    Args:
        sheet: The sheet.
        ids: Ids of the structures, in order.
        labels: Their names and colours.
        top: Top edge of the legend.
        margin: Free space at the left and at the right.
        nothing: Text if there is no structure.
        lang: Language of the names.
        beside: Details of structures, by id.
    """
    by_id = {structure.id: structure for structure in labels}
    if not ids:
        sheet.text(margin, top + _LINE / 2, nothing, 16)
        return
    named = ids[:MOST_IN_LEGEND]
    rows = -(-len(named) // _COLUMNS)
    column = (sheet.width - 2 * margin) / _COLUMNS
    for place, value in enumerate(named):
        x, y = margin + place // rows * column, top + place % rows * _LINE
        told = LegendEntry() if beside is None else beside[value]
        name = drawable(readable(by_id[value].name, lang), _LONGEST_BESIDE if told.text else _LONGEST_NAME)
        sheet.swatch(x, y + 5, 13, by_id[value].colour, filled=told.filled)
        sheet.text(x + 21, y + _LINE / 2, f"{name}, {told.text}" if told.text else name, 15)
    if len(ids) > len(named):
        sheet.text(margin, top + (rows + 0.5) * _LINE, say("+{count} more", lang, count=len(ids) - len(named)), 15, DIM)
