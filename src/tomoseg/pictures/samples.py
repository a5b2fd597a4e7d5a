"""Picture of training samples, with the outlines of the structures and the augmentations of each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from jaxtyping import Bool, UInt8

from tomoseg.labels import LabelSet
from tomoseg.language.words import number, percent, say
from tomoseg.masks import unpack
from tomoseg.pictures.canvas import DIM, DisplayedImage, Sheet, to_display
from tomoseg.pictures.legend import Legend
from tomoseg.settings import Language
from tomoseg.training.changes import Change, FieldOfView
from tomoseg.views import ViewName

COLUMNS = 4

_LINE_PX = 1.2
_WIDTH, _MARGIN, _GAP, _HEADER, _CAPTION = 1600, 16, 8, 48, 26
_WORDS_LINE, _WORDS_PX, _LONGEST_LINE = 17, 13, 54
_CELL = (_WIDTH - 2 * _MARGIN - (COLUMNS - 1) * _GAP) / COLUMNS
_LEAST_HEIGHT, _MOST_HEIGHT = 0.5, 1.5
"""Limits of the height of a picture, relative to the width."""
_HARD_SPACE = "\N{NO-BREAK SPACE}"
"""Joins the words of one change, so that no line breaks in them."""


@dataclass(frozen=True)
class Sample:
    """One slice as the network is given it.

    Attributes:
        name: Where the slice comes from.
        grey: `(x, y)`: the windowed CT, 0 to 255.
        packed: `(b, x, y)`: the packed masks, eight structures per byte.
        spacing_mm: Pixel spacing along x and y.
        changes: The augmentations, in a few words each.
        view: The view that the slice belongs to; x and y are its axes.
    """

    name: str
    grey: UInt8[np.ndarray, "x y"]
    packed: UInt8[np.ndarray, "b x y"]
    spacing_mm: tuple[float, float]
    changes: tuple[str, ...]
    view: ViewName = "axial"


def draw_samples(
    samples: Sequence[Sample], labels: LabelSet, path: Path, title: str, details: str = "", *, lang: Language = "en"
) -> None:
    """Draw samples in rows of four, and a legend of their structures, largest first.

    Every structure is outlined, also where structures overlap. The surrounding air is shown, as the network sees it.

    Args:
        samples: One or more samples.
        labels: The structures, with their names and colours.
        path: The PNG file to write.
        title: The heading.
        details: Smaller text at the right.
        lang: Language of the other texts.

    Raises:
        InputError: If the masks do not fit the labels.
        OutputError: If the file cannot be written.
    """
    masks = [unpack(sample.packed, len(labels)) for sample in samples]
    shown = _largest_first(samples, masks, labels)
    words = [_lines(sample.changes) for sample in samples]
    height = _CELL * float(np.clip(max(_height_by_width(s) for s in samples), _LEAST_HEIGHT, _MOST_HEIGHT))
    tops = _tops_of_rows(words, height)
    nothing = say("Nothing is labelled in these slices.", lang)
    legend = Legend.of(shown, labels, _WIDTH - 2 * _MARGIN, nothing, lang)
    sheet = Sheet(_WIDTH, round(tops[-1] + legend.height + _MARGIN))
    sheet.text(_MARGIN, _HEADER / 2, title, 22, longest=60, weight="bold")
    sheet.text(_WIDTH - _MARGIN, _HEADER / 2, details, 15, DIM, ha="right")
    for place, (sample, drawn, lines) in enumerate(zip(samples, masks, words, strict=True)):
        left, top = _MARGIN + place % COLUMNS * (_CELL + _GAP), tops[place // COLUMNS]
        sheet.text(left + _CELL / 2, top + _CAPTION / 2, sample.name, 14, DIM, longest=44, ha="center")
        _draw_sample(sheet.view(left, top + _CAPTION, _CELL, height, sample.spacing_mm), sample, drawn, labels, lang)
        for at, line in enumerate(lines):
            y = top + _CAPTION + height + _GAP + (at + 0.5) * _WORDS_LINE
            sheet.text(left + _CELL / 2, y, line, _WORDS_PX, ha="center")
    legend.draw(sheet, _MARGIN, tops[-1])
    sheet.save(path)


def words_of_change(change: Change, size: tuple[int, int], lang: Language = "en") -> tuple[str, ...]:
    """Describe each part of an augmentation in a few words, without those that round to nothing.

    Args:
        change: The augmentation of a slice.
        size: Pixels of the slice along x and y.
        lang: The language of the words.

    Example:
        >>> words_of_change(Change(turn_degrees=-4.2, hu_shift=-12, gamma=1.25), (256, 256))
        ('turned 4°', 'HU − 12', 'gamma 1.25')
    """
    distance = math.hypot(*(share * edge for share, edge in zip(change.shift, size, strict=True)))
    sign = "−" if change.hu_shift < 0 else "+"

    def at(value: float, digits: int) -> str:
        return number(value, digits, lang)

    said = (
        (say("turned {degrees}°", lang, degrees=at(abs(change.turn_degrees), 0)), round(change.turn_degrees) != 0),
        (say("size × {factor}", lang, factor=at(change.zoom, 2)), f"{change.zoom:.2f}" != "1.00"),
        (say("shifted {pixels} px", lang, pixels=at(distance, 0)), round(distance) != 0),
        (say("bent {pixels} px", lang, pixels=at(change.bend_pixels, 1)), round(change.bend_pixels, 1) > 0),
        (say("contrast × {factor}", lang, factor=at(change.hu_factor, 2)), f"{change.hu_factor:.2f}" != "1.00"),
        (say("HU {sign} {hu}", lang, sign=sign, hu=at(abs(change.hu_shift), 0)), round(change.hu_shift) != 0),
        (say("noise {hu} HU", lang, hu=at(change.noise_hu, 0)), round(change.noise_hu) > 0),
        (say("blurred {pixels} px", lang, pixels=at(change.blur_pixels, 1)), round(change.blur_pixels, 1) > 0),
        (say("resolution {share}", lang, share=percent(change.resolution, lang)), change.resolution < 0.995),
        ("" if change.view is None else _view_in_words(change.view, lang), change.view is not None),
        (say("gamma {gamma}", lang, gamma=at(change.gamma, 2)), f"{change.gamma:.2f}" != "1.00"),
    )
    return tuple(words for words, is_seen in said if is_seen)


def _view_in_words(view: FieldOfView, lang: Language) -> str:
    across, along = (percent(share, lang) for share in view.kept)
    if view.disc:
        return say("disc of {share}", lang, share=across)
    return say("rectangle of {across} × {along}", lang, across=across, along=along)


def _largest_first(
    samples: Sequence[Sample], masks: Sequence[Bool[np.ndarray, "c x y"]], labels: LabelSet
) -> list[int]:
    """Return the ids of the structures in the samples, by decreasing total area."""
    areas = sum(m.sum(axis=(1, 2)) * float(np.prod(s.spacing_mm)) for m, s in zip(masks, samples, strict=True))
    return [labels.ids[c] for c in np.argsort(-areas, kind="stable") if areas[c] > 0]


def _lines(changes: Sequence[str]) -> list[str]:
    return wrap(", ".join(change.replace(" ", _HARD_SPACE) for change in changes), _LONGEST_LINE)


def _tops_of_rows(words: Sequence[Sequence[str]], height: float) -> list[float]:
    """Return the top of each row of samples and the bottom of the last; rows fit their longest text."""
    rows = [words[first : first + COLUMNS] for first in range(0, len(words), COLUMNS)]
    heights = [_CAPTION + height + max(map(len, row)) * _WORDS_LINE + 2 * _GAP for row in rows]
    return np.cumsum([_HEADER, *heights]).tolist()


def _height_by_width(sample: Sample) -> float:
    (x, y), (width, height) = sample.grey.shape, sample.spacing_mm
    return y * height / (x * width)


def _draw_sample(
    view: DisplayedImage, sample: Sample, masks: Bool[np.ndarray, "c x y"], labels: LabelSet, lang: Language
) -> None:
    view.image(to_display(sample.grey))
    for structure, mask in zip(labels, masks, strict=True):
        if mask.any():
            colours = np.array([(0, 0, 0), structure.colour], np.uint8)
            view.structures(to_display(mask.view(np.uint8)), colours, 0.0, _LINE_PX)
    view.marks(sample.view, 12, lang)
