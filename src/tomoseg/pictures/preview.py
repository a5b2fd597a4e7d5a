"""One sheet to judge a prediction by: three planes, axial slices along the body, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

from tomoseg.errors import GridError, LabelError
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import by_byte, mask_in
from tomoseg.pictures.canvas import (
    BODY_HU,
    DIM,
    NORMAL_AXIS,
    Plane,
    Sheet,
    content_box,
    palette,
    plane_spacing,
    take_plane,
    window_to_grey,
)
from tomoseg.pictures.legend import draw_legend, legend_height
from tomoseg.pictures.words import say, short
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.settings import Language
from tomoseg.volume import Volume

AXIAL_ROW = 6
"""Axial slices along the body."""

_OPACITY, _LINE_PX = 0.4, 1.2
_BODY_MARGIN_MM = 10.0
_WIDTH, _MARGIN, _GAP, _HEADER, _CAPTION = 1600, 16, 8, 48, 26
_LONGEST_TITLE = 60
_TALLEST_ROW = 900
_LEAST_ASPECT, _MOST_ASPECT = 0.3, 1.8
"""Width by height of a picture's place; a thinner or flatter picture leaves some of its place empty."""

LabelValues = UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]


@dataclass(frozen=True)
class _Picture:
    """One slice, ready to be drawn."""

    plane: Plane
    index: int
    grey: UInt8[np.ndarray, "rows columns"]
    values: UInt8[np.ndarray, "rows columns"] | UInt16[np.ndarray, "rows columns"]
    spacing_mm: tuple[float, float]

    @property
    def aspect(self) -> float:
        rows, columns = self.grey.shape
        true = columns * self.spacing_mm[0] / (rows * self.spacing_mm[1])
        return float(min(max(true, _LEAST_ASPECT), _MOST_ASPECT))


def flatten(segmentation: Segmentation) -> LabelMap:
    """Independent masks as one label map for display: where masks overlap, the lower channel is shown.

    Never more than one byte plane of the masks is in memory.

    Raises:
        LabelError: If an id is beyond what a label map can hold (65535).
    """
    ids, channels = segmentation.labels.ids, len(segmentation.labels)
    kind = label_type(ids)
    values = np.zeros(segmentation.grid.canonical_shape, kind)
    bytes_there_are = np.arange(256, dtype=np.uint8)
    for plane, in_it in reversed(by_byte(range(channels)).items()):
        id_of = np.zeros(256, kind)
        for channel in reversed(in_it):
            id_of[mask_in(bytes_there_are, channel)] = ids[channel]
        bits = segmentation.byte_plane(plane)
        np.copyto(values, id_of[bits], where=bits != 0)
    return LabelMap(values, segmentation.labels, segmentation.grid)


def draw_preview(
    volume: Volume,
    result: Segmentation | LabelMap,
    path: Path,
    title: str,
    window_hu: tuple[float, float] = (-200, 300),
    *,
    lang: Language = "en",
) -> None:
    """Draw three planes through where most is labelled, a row of axial slices, and a legend.

    All pictures have true proportions in mm and leave out the surrounding air. The legend names the structures
    in them, largest first. Where nothing is labelled, the CT is shown alone, with a note.

    Args:
        volume: The scan.
        result: On the scan's grid; where masks overlap, the structure of the lower channel is shown.
        path: The PNG file to write.
        title: The heading, such as the case's name.
        window_hu: What is shown black and white.
        lang: Of what is written.

    Raises:
        GridError: If the label map is not on the scan's grid.
        InputError: If the window does not rise.
        LabelError: If the label map holds a value that is no structure's id.
        OutputError: If the file cannot be written.

    Example:
        >>> from tomoseg.files.results import read_labelled
        >>> from tomoseg.files.scan import read_scan
        >>> draw_preview(read_scan(Path("ct.nii.gz")), read_labelled(Path("map.nii.gz")), Path("preview.png"), "A scan")
        >>> Path("preview.png").is_file()
        True
    """
    shown = result if isinstance(result, LabelMap) else flatten(result)
    labels, label_values = shown.labels, shown.values
    if label_values.shape != volume.shape:
        raise GridError(
            f"expected a result of the scan's shape {volume.shape}, got {label_values.shape}; "
            "pass the prediction of this very scan, in RAS+ order"
        )
    _check_values(label_values, labels)
    labelled = label_values != 0
    planes = [
        picture
        for plane, axis in NORMAL_AXIS.items()
        for picture in _pictures(volume, label_values, plane, [_fullest(labelled, axis)], window_hu)
    ]
    axials = _pictures(volume, label_values, "axial", _spread(labelled), window_hu)
    _compose(planes, axials, labels, (title, _describe(volume, lang)), lang).save(path)


def _check_values(values: LabelValues, labels: LabelSet) -> None:
    found = np.zeros(np.iinfo(values.dtype).max + 1, bool)
    for sheet in values:  # one at a time, since an array used as an index is copied at 8 bytes a voxel
        found |= np.bincount(sheet.ravel(), minlength=found.size) > 0
    unknown = sorted(set(np.flatnonzero(found).tolist()) - {0, *labels.ids})
    if unknown:
        raise LabelError(
            f"expected the ids of {len(labels)} structures in the label map, got {unknown[:5]} besides; "
            "pass the label set that it was made with"
        )


def _pictures(
    volume: Volume, values: LabelValues, plane: Plane, indices: list[int], window_hu: tuple[float, float]
) -> list[_Picture]:
    """Slices of one plane without the surrounding air, all cut alike."""
    spacing = plane_spacing(volume.spacing_mm, plane)
    hus = [take_plane(volume.hu, plane, index) for index in indices]
    marked = [take_plane(values, plane, index) for index in indices]
    content = np.any([(hu > BODY_HU) | (mark > 0) for hu, mark in zip(hus, marked, strict=True)], axis=0)
    box = content_box(content, [round(_BODY_MARGIN_MM / edge) for edge in reversed(spacing)])
    return [
        _Picture(plane, index, window_to_grey(hu[box], window_hu), mark[box], spacing)
        for index, hu, mark in zip(indices, hus, marked, strict=True)
    ]


def _fullest(labelled: np.ndarray, axis: int) -> int:
    """The slice across an axis with the most labelled voxels; among equals the middle one."""
    counts = np.count_nonzero(labelled, axis=tuple(other for other in range(3) if other != axis))
    equal = np.flatnonzero(counts == counts.max())
    return int(equal[len(equal) // 2])


def _spread(labelled: np.ndarray) -> list[int]:
    """Axial slices evenly spread over the labelled part (all of it where there is none), from the top down."""
    (along,) = content_box(np.asarray(labelled.any(axis=(0, 1))), (0,))
    inside = along.stop - along.start
    number = min(AXIAL_ROW, inside)
    return [along.start + int((part + 0.5) * inside / number) for part in reversed(range(number))]


def _describe(volume: Volume, lang: Language) -> str:
    shape = " × ".join(str(size) for size in volume.shape)
    spacing = " × ".join(short(edge, lang) for edge in volume.spacing_mm)
    return say("{shape} voxels of {spacing} mm", lang, shape=shape, spacing=spacing)


def _compose(
    planes: list[_Picture], axials: list[_Picture], labels: LabelSet, heading: tuple[str, str], lang: Language
) -> Sheet:
    shown = _areas([*planes, *axials])
    ids = sorted(shown, key=lambda value: (-shown[value], value))
    heights = [_row_height(planes), _row_height(axials)]
    legend_top = _HEADER + sum(heights) + 2 * _CAPTION + 2 * _GAP
    sheet = Sheet(_WIDTH, round(legend_top + legend_height(ids) + _MARGIN))
    sheet.text(_MARGIN, _HEADER / 2, heading[0], 22, longest=_LONGEST_TITLE, weight="bold")
    sheet.text(_WIDTH - _MARGIN, _HEADER / 2, heading[1], 15, DIM, ha="right")
    colours = palette(labels)
    _draw_row(sheet, planes, _HEADER, heights[0], colours, lang)
    _draw_row(sheet, axials, _HEADER + _CAPTION + heights[0] + _GAP, heights[1], colours, lang)
    draw_legend(sheet, ids, labels, legend_top, _MARGIN, say("Nothing is labelled in this scan.", lang), lang)
    return sheet


def _areas(pictures: list[_Picture]) -> dict[int, float]:
    """mm² of each structure over all pictures."""
    areas: dict[int, float] = {}
    for picture in pictures:
        pixel = picture.spacing_mm[0] * picture.spacing_mm[1]
        for value, count in zip(*np.unique(picture.values[picture.values > 0], return_counts=True), strict=True):
            areas[int(value)] = areas.get(int(value), 0) + int(count) * pixel
    return areas


def _row_height(pictures: list[_Picture]) -> float:
    """The height at which the pictures fill the width beside each other."""
    room = _WIDTH - 2 * _MARGIN - (len(pictures) - 1) * _GAP
    return min(_TALLEST_ROW, room / sum(picture.aspect for picture in pictures))


def _draw_row(
    sheet: Sheet,
    pictures: list[_Picture],
    top: float,
    height: float,
    colours: UInt8[np.ndarray, "n 3"],
    lang: Language,
) -> None:
    """Pictures of one height beside each other, centred, each with its plane and index above."""
    used = sum(picture.aspect for picture in pictures) * height + (len(pictures) - 1) * _GAP
    left = (_WIDTH - used) / 2
    for picture in pictures:
        width = picture.aspect * height
        caption = f"{say(picture.plane, lang)}, {'xyz'[NORMAL_AXIS[picture.plane]]} = {picture.index}"
        sheet.text(left + width / 2, top + _CAPTION / 2, caption, 14, DIM, ha="center")
        view = sheet.view(left, top + _CAPTION, width, height, picture.spacing_mm)
        view.image(picture.grey)
        view.structures(picture.values, colours, _OPACITY, _LINE_PX)
        view.marks(picture.plane, lang=lang)
        view.scale_bar()
        left += width + _GAP
