"""Prediction against reference in one axial slice: CT, reference, prediction and both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int16, UInt8
from matplotlib.patches import Rectangle

from tomoseg.errors import GridError
from tomoseg.language.words import number, say
from tomoseg.pictures.canvas import (
    BODY_HU,
    BRIGHT,
    DIM,
    Colour,
    DisplayedImage,
    Sheet,
    content_box,
    to_display,
    window_to_grey,
)
from tomoseg.pictures.structure_names import readable
from tomoseg.settings import Language

REFERENCE, PREDICTION = (244, 40, 60), (50, 95, 255)
"""Colours of reference and prediction: red and blue, which blend to purple where the masks overlap."""

_OPACITY, _LINE_PX = 0.45, 1.6
_WIDTH, _MARGIN, _GAP, _HEADER, _CAPTION = 1600, 16, 8, 48, 28
_BODY_MARGIN_MM = 10.0
_ZOOM_MARGIN_MM = 15.0
_LEAST_ZOOM = 1.5
"""The last picture is enlarged only if it can be enlarged at least this much."""

Box = tuple[float, float, float, float]
"""Left edge, top edge, width and height in mm."""


def best_slice(mask: Bool[np.ndarray, "x y z"]) -> int:
    """Return the axial slice in which a mask is largest, the lowest of equals; the middle one if the mask is empty.

    Example:
        >>> best_slice(np.array([[[0, 1, 1, 0]], [[0, 0, 1, 0]]], bool))
        2
    """
    areas = np.count_nonzero(mask, axis=(0, 1))
    return int(areas.argmax()) if areas.any() else mask.shape[2] // 2


def worst_slice(predicted: Bool[np.ndarray, "x y z"], reference: Bool[np.ndarray, "x y z"]) -> int:
    """Return the axial slice with the most wrong voxels, the lowest of equals; if none is, the reference's largest.

    Example:
        >>> worst_slice(np.array([[[0, 1, 1, 0]]], bool), np.array([[[0, 1, 0, 0]]], bool))
        2
    """
    wrong = predicted != reference
    return best_slice(wrong if wrong.any() else reference)


def slice_dice(predicted: Bool[np.ndarray, "x y"], reference: Bool[np.ndarray, "x y"]) -> float:
    """Return the Dice overlap in one slice; NaN if the reference is empty.

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

    The surrounding air is cut away. If the structure is small, the last picture is enlarged, and a frame in the first
    one shows which part it is.

    Args:
        hu_slice: `(x, y)`: the CT slice in HU, in RAS+ order.
        reference: `(x, y)`: the reference mask; None if the structure was not annotated (not the same as empty).
        predicted: `(x, y)`: the predicted mask.
        structure: Name of the structure, for the title.
        spacing_mm: Pixel spacing along x and y.
        path: The PNG file to write.
        window_hu: HU shown as black and as white.
        lang: The language of the captions.

    Raises:
        GridError: If the shapes of the three differ.
        InputError: If the window's lower end is not below its upper end.
        OutputError: If the file cannot be written.
    """
    given = reference if reference is not None else np.zeros_like(predicted)
    if not hu_slice.shape == given.shape == predicted.shape:
        raise GridError(
            f"expected CT, reference and prediction of one shape, got {hu_slice.shape}, {given.shape} and "
            f"{predicted.shape}; take the same slice of all three"
        )
    scene = _cut(hu_slice, given, predicted, spacing_mm, window_hu)
    zoom = _zoom_box(scene)
    width = (_WIDTH - 2 * _MARGIN - 3 * _GAP) / 4
    height = float(np.clip(width * scene.size_mm[1] / scene.size_mm[0], 120, 1000))
    sheet = Sheet(_WIDTH, round(_HEADER + _CAPTION + height + _MARGIN))
    title = say("Segmentation: {structure}", lang, structure=readable(structure, lang))
    sheet.text(_MARGIN, _HEADER / 2, title, 22, longest=50, weight="bold")
    sheet.text(_WIDTH - _MARGIN, _HEADER / 2, _summary(reference, predicted, spacing_mm, lang), 16, DIM, ha="right")
    pictures = _pictures(scene, zoom, lang, annotated=reference is not None)
    views = []
    for place, picture in enumerate(pictures):
        left = _MARGIN + place * (width + _GAP)
        sheet.text(left + width / 2, _HEADER + _CAPTION / 2, picture.title, 16, picture.colour, ha="center")
        views.append(sheet.view(left, _HEADER + _CAPTION, width, height, spacing_mm))
        _draw(views[-1], scene.grey, picture.masks, lang)
    if zoom is not None:
        _zoom_in(views[3], views[0], zoom)
    views[0].scale_bar()
    views[3].scale_bar()
    sheet.save(path)


@dataclass(frozen=True)
class _Scene:
    """Slice and masks, cropped to the body and oriented for display."""

    grey: UInt8[np.ndarray, "r c"]
    reference: Bool[np.ndarray, "r c"]
    predicted: Bool[np.ndarray, "r c"]
    spacing_mm: tuple[float, float]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height in mm."""
        rows, columns = self.grey.shape
        return (columns * self.spacing_mm[0], rows * self.spacing_mm[1])


@dataclass(frozen=True)
class _Picture:
    """One of the four pictures: its caption, the caption's colour, and its masks."""

    title: str
    colour: str
    masks: Sequence[tuple[Bool[np.ndarray, "r c"], Colour]]


def _cut(
    hu_slice: Int16[np.ndarray, "x y"],
    reference: Bool[np.ndarray, "x y"],
    predicted: Bool[np.ndarray, "x y"],
    spacing_mm: tuple[float, float],
    window_hu: tuple[float, float],
) -> _Scene:
    shown = (hu_slice > BODY_HU) | reference | predicted
    body = content_box(shown, [round(_BODY_MARGIN_MM / edge) for edge in spacing_mm])
    grey = to_display(window_to_grey(hu_slice[body], window_hu))
    return _Scene(grey, to_display(reference[body]), to_display(predicted[body]), spacing_mm)


def _pictures(scene: _Scene, zoom: Box | None, lang: Language, *, annotated: bool) -> list[_Picture]:
    """Return the four pictures: CT, reference, prediction and both."""
    masks = ((scene.reference, REFERENCE), (scene.predicted, PREDICTION))
    overlay = say("Overlay", lang)
    if zoom is not None:
        overlay = say("Overlay, enlarged {times}×", lang, times=number(scene.size_mm[0] / zoom[2], 1, lang))
    return [
        _Picture(say("CT", lang), BRIGHT, ()),
        _Picture(say("Reference" if annotated else "Reference: not annotated", lang), "#ff7a7a", masks[:1]),
        _Picture(say("Prediction", lang), "#7fb0ff", masks[1:]),
        _Picture(overlay, "#d08cff", masks),
    ]


def _summary(
    reference: Bool[np.ndarray, "x y"] | None,
    predicted: Bool[np.ndarray, "x y"],
    spacing_mm: tuple[float, float],
    lang: Language,
) -> str:
    """Return a line with the areas and, if there is a reference, the Dice overlap in the slice."""
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


def _draw(
    view: DisplayedImage,
    grey: UInt8[np.ndarray, "r c"],
    masks: Sequence[tuple[Bool[np.ndarray, "r c"], Colour]],
    lang: Language,
) -> None:
    """Draw the CT, then all areas, then the outlines, so that none is covered."""
    view.image(grey)
    for opacity, line_px in ((_OPACITY, 0.0), (0.0, _LINE_PX)):
        for mask, colour in masks:
            view.structures(mask.view(np.uint8), np.array([(0, 0, 0), colour], np.uint8), opacity, line_px)
    view.marks("axial", lang=lang)


def _zoom_box(scene: _Scene) -> Box | None:
    """Return a box around both masks in the picture's proportions; None if the enlargement would be small."""
    mask, spacing_mm, full = scene.reference | scene.predicted, scene.spacing_mm, scene.size_mm
    if not mask.any():
        return None
    rows, columns = content_box(mask, (0, 0))
    first = (columns.start * spacing_mm[0], rows.start * spacing_mm[1])
    last = (columns.stop * spacing_mm[0], rows.stop * spacing_mm[1])
    scale = min(full[axis] / (last[axis] - first[axis] + 2 * _ZOOM_MARGIN_MM) for axis in (0, 1))
    if scale < _LEAST_ZOOM:
        return None
    width, height = full[0] / scale, full[1] / scale
    left = float(np.clip((first[0] + last[0] - width) / 2, 0, full[0] - width))
    top = float(np.clip((first[1] + last[1] - height) / 2, 0, full[1] - height))
    return (left, top, width, height)


def _zoom_in(view: DisplayedImage, overview: DisplayedImage, box: Box) -> None:
    """Enlarge a part of one picture, and frame it in another."""
    left, top, width, height = box
    view.axes.set_xlim(left, left + width)
    view.axes.set_ylim(top + height, top)
    overview.axes.add_patch(
        Rectangle((left, top), width, height, fill=False, edgecolor="#d08cff", linewidth=0.9, linestyle="--")
    )
