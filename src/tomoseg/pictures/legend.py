"""The names and colours of the structures in a picture, in columns."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.labels import LabelSet
from tomoseg.pictures.canvas import DIM, Sheet
from tomoseg.pictures.structure_names import readable
from tomoseg.pictures.words import say
from tomoseg.settings import Language

MOST_IN_LEGEND = 40

_COLUMNS, _LINE = 5, 23
_LONGEST_NAME = 32


def legend_height(ids: Sequence[int]) -> int:
    """Pixels that `draw_legend` takes, of one line at least."""
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
) -> None:
    """Name structures, downwards and then to the right; of many, the first.

    Args:
        sheet: What to draw on.
        ids: The structures' ids, in the order to name them.
        labels: Their names and colours.
        top: Where the legend begins.
        margin: What stays free at the left and at the right.
        nothing: What is written where there is no structure.
        lang: Of the names.
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
        sheet.swatch(x, y + 5, 13, by_id[value].colour)
        sheet.text(x + 21, y + _LINE / 2, readable(by_id[value].name, lang), 15, longest=_LONGEST_NAME)
    if len(ids) > len(named):
        sheet.text(margin, top + (rows + 0.5) * _LINE, say("+{count} more", lang, count=len(ids) - len(named)), 15, DIM)
