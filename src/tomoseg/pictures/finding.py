"""Picture of a finding of the dataset check: an axial and a coronal slice with masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from tomoseg.language.words import spoken
from tomoseg.pictures.canvas import (
    BODY_HU,
    BRIGHT,
    Plane,
    Sheet,
    content_box,
    plane_spacing,
    take_plane,
    window_to_grey,
)
from tomoseg.pictures.structure_names import readable
from tomoseg.settings import Language
from tomoseg.volume import Volume

COLOURS = ((244, 40, 60), (60, 130, 255), (60, 200, 90), (250, 190, 40))
"""Colours of the structure that the finding concerns, and of the others that it names."""

_WINDOW_HU = (-200.0, 300.0)
_WIDTH, _GAP, _TITLE, _LONGEST = 640, 8, 22, 70
_HEIGHT, _MARGIN_MM = 320, 10.0
_CHARACTER = 7.0
"""Mean width in pixels of a character of the names."""


def draw_finding(
    volume: Volume,
    masks: Mapping[str, Bool[np.ndarray, "x y z"]],
    through: Bool[np.ndarray, "x y z"] | None = None,
    title: str = "",
    lang: Language | None = None,
) -> bytes:
    """Draw an axial and a coronal slice through the largest area of a finding, as PNG.

    Args:
        volume: The scan.
        masks: Up to four masks on the scan's grid by the name of the structure, that of the finding first. Without
            masks, the slices are those in the middle of the scan.
        through: Mask whose largest area the slices show; if omitted, the first of the masks.
        title: Title line; empty for none.
        lang: Language of the names and marks; if omitted, this process's.
    """
    language = lang or spoken()
    places = _places(volume, next(iter(masks.values()), None) if through is None else through)
    top = 2 * _TITLE if title else _TITLE
    sheet = Sheet(_WIDTH, _HEIGHT + top)
    if title:
        sheet.text(4, _TITLE / 2, title, 14, BRIGHT, longest=_LONGEST)
    _write_names(sheet, [readable(name, language) for name in masks], top - _TITLE)
    width = (_WIDTH - _GAP) / 2
    inside = np.logical_or.reduce([(volume.hu > BODY_HU).any(axis=2), *(mask.any(axis=2) for mask in masks.values())])
    cut = (*content_box(inside, [round(_MARGIN_MM / edge) for edge in volume.spacing_mm[:2]]), slice(None))
    starts = {"axial": 0, "coronal": cut[1].start}
    for number, (plane, index) in enumerate(places.items()):
        view = sheet.view(number * (width + _GAP), top, width, _HEIGHT, plane_spacing(volume.spacing_mm, plane))
        index = index - starts[plane]
        view.image(window_to_grey(take_plane(volume.hu[cut], plane, index), _WINDOW_HU))
        for mask, colour in zip(masks.values(), COLOURS, strict=False):
            area = take_plane(mask[cut], plane, index).astype(np.uint8)
            view.structures(area, np.array([(0, 0, 0), colour], np.uint8), 0.25, 1.5)
        view.marks(plane, lang=language)
        view.scale_bar()
    return sheet.png()


def _places(volume: Volume, mask: Bool[np.ndarray, "x y z"] | None) -> dict[Plane, int]:
    """Return the slices of the largest area of a mask; those in the middle of the scan if it is empty."""
    if mask is None or not mask.any():
        return {"axial": volume.shape[2] // 2, "coronal": volume.shape[1] // 2}
    return {"axial": _largest(mask, 2), "coronal": _largest(mask, 1)}


def _largest(mask: Bool[np.ndarray, "x y z"], axis: int) -> int:
    others = tuple(one for one in range(3) if one != axis)
    return int(np.count_nonzero(mask, axis=others).argmax())


def _write_names(sheet: Sheet, names: list[str], top: int) -> None:
    """Write the names close together, each with its colour: they are those of both slices."""
    room = int(_WIDTH / max(len(names), 1) / _CHARACTER) - 4
    left = 4.0
    for name, colour in zip(names, COLOURS, strict=False):
        sheet.swatch(left, top + 6, 10, colour)
        sheet.text(left + 16, top + 11, name, 12, BRIGHT, longest=room)
        left += 16 + (min(len(name), room) + 2) * _CHARACTER
