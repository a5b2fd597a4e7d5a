"""Prediction against reference in one axial slice: CT, reference, prediction and both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int16
from matplotlib.patches import Rectangle

from tomoseg.errors import GridError
from tomoseg.pictures.canvas import (
    BODY_HU,
    BRIGHT,
    DIM,
    Colour,
    Sheet,
    View,
    content_box,
    to_display,
    window_to_grey,
)
from tomoseg.pictures.structure_names import readable
from tomoseg.pictures.words import number, say
from tomoseg.settings import Language

REFERENCE, PREDICTION = (244, 40, 60), (50, 95, 255)
"""Red and blue, which mix to purple where they agree."""

_OPACITY, _LINE_PX = 0.45, 1.6
_WIDTH, _MARGIN, _GAP, _HEADER, _CAPTION = 1600, 16, 8, 48, 28
_BODY_MARGIN_MM = 10.0
_ZOOM_MARGIN_MM = 15.0
_LEAST_ZOOM = 1.5
"""A smaller enlargement is not worth leaving the other panels' scale for."""


def best_slice(mask: Bool[np.ndarray, "x y z"]) -> int:
    """The axial slice in which a mask is largest: the lowest of equals, the middle one where the mask is empty.

    Example:
        >>> best_slice(np.array([[[0, 1, 1, 0]], [[0, 0, 1, 0]]], bool))
        2
    """
    areas = np.count_nonzero(mask, axis=(0, 1))
    return int(areas.argmax()) if areas.any() else mask.shape[2] // 2


def worst_slice(predicted: Bool[np.ndarray, "x y z"], reference: Bool[np.ndarray, "x y z"]) -> int:
    """The axial slice in which most voxels are wrong: the lowest of equals, where none is the largest of the reference.

    Example:
        >>> worst_slice(np.array([[[0, 1, 1, 0]]], bool), np.array([[[0, 1, 0, 0]]], bool))
        2
    """
    wrong = predicted != reference
    return best_slice(wrong if wrong.any() else reference)


def slice_dice(predicted: Bool[np.ndarray, "x y"], reference: Bool[np.ndarray, "x y"]) -> float:
    """Dice overlap in one slice; NaN where the reference is empty.

    Source: Dice, L. R. (1945). Ecology 26(3), 297-302.
    """
    if not reference.any():
        return float("nan")
    both = np.count_nonzero(predicted & reference)
    return 2 * both / (np.count_nonzero(predicted) + np.count_nonzero(reference))


def draw_panel(
    hu_slice: Int16[np.ndarray, "x y"],
    reference: Bool[np.ndarray, "_ _"] | None,
    predicted: Bool[np.ndarray, "_ _"],
    structure: str,
    spacing_mm: tuple[float, float],
    path: Path,
    window_hu: tuple[float, float] = (-200, 300),
    *,
    lang: Language = "en",
) -> None:
    """Draw CT, reference (red), prediction (blue) and both (purple where they agree) of one axial slice.

    The surrounding air is cut away. The last picture zooms in on a small structure; the first shows where.

    Args:
        hu_slice: `(x, y)` HU, RAS+.
        reference: `(x, y)`, or None where the structure was not annotated, which is not the same as empty.
        predicted: `(x, y)`.
        structure: Its name, for the title.
        spacing_mm: Pixel edges along x and y.
        path: The PNG file to write.
        window_hu: What is shown black and white.
        lang: Of the captions.

    Raises:
        GridError: If the three are not of one shape.
        InputError: If the window does not rise.
        OutputError: If the file cannot be written.
    """
    given = reference if reference is not None else np.zeros_like(predicted)
    if not hu_slice.shape == given.shape == predicted.shape:
        raise GridError(
            f"expected CT, reference and prediction of one shape, got {hu_slice.shape}, {given.shape} and "
            f"{predicted.shape}; take the same slice of all three"
        )
    body = content_box((hu_slice > BODY_HU) | given | predicted, [round(_BODY_MARGIN_MM / edge) for edge in spacing_mm])
    grey = to_display(window_to_grey(hu_slice[body], window_hu))
    masks = [(to_display(given[body]), REFERENCE), (to_display(predicted[body]), PREDICTION)]

    cell = (_WIDTH - 2 * _MARGIN - 3 * _GAP) / 4
    rows, columns = grey.shape
    height = float(np.clip(cell * (rows * spacing_mm[1]) / (columns * spacing_mm[0]), 120, 1000))
    sheet = Sheet(_WIDTH, round(_HEADER + _CAPTION + height + _MARGIN))
    sheet.text(
        _MARGIN,
        _HEADER / 2,
        say("Segmentation: {structure}", lang, structure=readable(structure, lang)),
        22,
        longest=50,
        weight="bold",
    )
    sheet.text(_WIDTH - _MARGIN, _HEADER / 2, _summary(reference, predicted, spacing_mm, lang), 16, DIM, ha="right")

    zoom = _zoom_box(to_display((given | predicted)[body]), spacing_mm)
    pictures = (
        (say("CT", lang), BRIGHT, masks[:0]),
        (say("Reference" if reference is not None else "Reference: not annotated", lang), "#ff7a7a", masks[:1]),
        (say("Prediction", lang), "#7fb0ff", masks[1:]),
        (
            say("Overlay", lang)
            if zoom is None
            else say("Overlay, enlarged {times}×", lang, times=number(columns * spacing_mm[0] / zoom[2], 1, lang)),
            "#d08cff",
            masks,
        ),
    )
    views = []
    for position, (title, colour, shown) in enumerate(pictures):
        left = _MARGIN + position * (cell + _GAP)
        sheet.text(left + cell / 2, _HEADER + _CAPTION / 2, title, 16, colour, ha="center")
        view = sheet.view(left, _HEADER + _CAPTION, cell, height, spacing_mm)
        view.image(grey)
        _draw_masks(view, shown)
        view.marks("axial", lang=lang)
        views.append(view)
    if zoom is not None:
        _zoom_in(views[3], views[0], zoom)
    views[0].scale_bar()
    views[3].scale_bar()
    sheet.save(path)


def _summary(
    reference: Bool[np.ndarray, "x y"] | None,
    predicted: Bool[np.ndarray, "x y"],
    spacing_mm: tuple[float, float],
    lang: Language,
) -> str:
    """Areas and, where there is a reference, the Dice of the slice."""
    pixel_cm2 = spacing_mm[0] * spacing_mm[1] / 100

    def area(mask: Bool[np.ndarray, "x y"]) -> str:
        return number(np.count_nonzero(mask) * pixel_cm2, 1, lang)

    parts = [say("prediction {area} cm²", lang, area=area(predicted))]
    if reference is not None:
        parts.insert(0, say("reference {area} cm²", lang, area=area(reference)))
        dice = slice_dice(predicted, reference)
        told = say("Dice of this slice {dice}", lang, dice=number(dice, 3, lang))
        parts.insert(0, say("no Dice (empty reference)", lang) if np.isnan(dice) else told)
    return "   ·   ".join(parts)


def _draw_masks(view: View, masks: list[tuple[Bool[np.ndarray, "r c"], Colour]]) -> None:
    """All areas first, so that no outline is covered."""
    for opacity, line_px in ((_OPACITY, 0.0), (0.0, _LINE_PX)):
        for mask, colour in masks:
            view.structures(mask.view(np.uint8), np.array([(0, 0, 0), colour], np.uint8), opacity, line_px)


def _zoom_box(
    mask: Bool[np.ndarray, "r c"], spacing_mm: tuple[float, float]
) -> tuple[float, float, float, float] | None:
    """Left, top, width and height in mm of an enlargement around a mask, in the shape of the whole picture."""
    if not mask.any():
        return None
    rows, columns = content_box(mask, (0, 0))
    full = (mask.shape[1] * spacing_mm[0], mask.shape[0] * spacing_mm[1])
    first = (columns.start * spacing_mm[0], rows.start * spacing_mm[1])
    last = (columns.stop * spacing_mm[0], rows.stop * spacing_mm[1])
    scale = min(full[axis] / (last[axis] - first[axis] + 2 * _ZOOM_MARGIN_MM) for axis in (0, 1))
    if scale < _LEAST_ZOOM:
        return None
    width, height = full[0] / scale, full[1] / scale
    left = float(np.clip((first[0] + last[0] - width) / 2, 0, full[0] - width))
    top = float(np.clip((first[1] + last[1] - height) / 2, 0, full[1] - height))
    return (left, top, width, height)


def _zoom_in(view: View, overview: View, box: tuple[float, float, float, float]) -> None:
    """Enlarge one picture and frame the part in another."""
    left, top, width, height = box
    view.axes.set_xlim(left, left + width)
    view.axes.set_ylim(top + height, top)
    overview.axes.add_patch(
        Rectangle((left, top), width, height, fill=False, edgecolor="#d08cff", linewidth=0.9, linestyle="--")
    )
