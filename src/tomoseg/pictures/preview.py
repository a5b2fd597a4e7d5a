"""The preview sheet of a prediction: three planes, axial slices along the body, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

from tomoseg.errors import GridError, LabelError
from tomoseg.labels import LabelSet, label_type
from tomoseg.language.words import millilitres, number, say, short
from tomoseg.masks import by_byte, mask_in
from tomoseg.notices import Notice
from tomoseg.pictures.arrange import CAPTION, GAP, Place, arrange, bottom_of
from tomoseg.pictures.canvas import (
    BODY_HU,
    DIM,
    NORMAL_AXIS,
    EdgeMark,
    Plane,
    Sheet,
    content_box,
    palette,
    plane_spacing,
    take_plane,
    window_to_grey,
)
from tomoseg.pictures.legend import Legend, LegendEntry
from tomoseg.pictures.warning_lines import draw_warnings, lines_of, warning_height
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.settings import Language
from tomoseg.volume import Volume

AXIAL_ROW = 6
"""Number of axial slices along the body, fewer if fewer are labelled."""

_OPACITY, _LINE_PX = 0.4, 1.2
_BODY_MARGIN_MM = 10.0
_WIDTH, _MARGIN, _HEADER = 1600, 16, 48
_LONGEST_TITLE = 60
_NOTE = 22
"""Height in pixels of the note below the legend."""

_SIDES: dict[Plane, tuple[EdgeMark, EdgeMark]] = {"axial": ("S", "I"), "coronal": ("A", "P"), "sagittal": ("R", "L")}
"""Letters of a positive and a negative position across a plane, as viewers write it."""

LabelValues = UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]


@dataclass(frozen=True)
class _Picture:
    """One slice, ready to be drawn."""

    plane: Plane
    position_mm: float
    grey: UInt8[np.ndarray, "rows columns"]
    values: UInt8[np.ndarray, "rows columns"] | UInt16[np.ndarray, "rows columns"]
    spacing_mm: tuple[float, float]

    @property
    def aspect(self) -> float:
        rows, columns = self.grey.shape
        return columns * self.spacing_mm[0] / (rows * self.spacing_mm[1])


def flatten(segmentation: Segmentation) -> LabelMap:
    """Flatten independent masks to a label map for display; where masks overlap, the lower channel wins.

    Only one byte plane of the masks is in memory at a time.

    Raises:
        LabelError: If an id is above 65535, the largest of a label map.
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
    path: Path | str,
    title: str,
    window_hu: tuple[float, float] = (-200, 300),
    *,
    lang: Language = "en",
    warnings: Sequence[str | Notice] = (),
) -> None:
    """Draw three planes with the most labelled voxels, axial slices along the body, and a legend with volumes.

    All pictures have true proportions in mm, are cropped to the body, and state their position in the patient's
    coordinates (RAS+). The legend names all structures that were found, largest first; those in none of the pictures
    have an empty square. Where nothing is labelled, the CT is shown alone, with a note. Warnings are repeated under the
    title, since a picture is passed on without the terminal.

    Args:
        volume: The scan.
        result: Masks or a label map on the scan's grid; where masks overlap, the structure of the lower channel is
            shown.
        path: The PNG file to write.
        title: The heading, such as the name of the case.
        window_hu: HU shown as black and as white.
        lang: Language of the texts.
        warnings: Notices about the scan, in the order in which they are shown; no decisive one is left out.

    Raises:
        GridError: If the shapes of the result and the scan differ.
        InputError: If the window's lower end is not below its upper end.
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
            "pass the prediction of this scan, in RAS+ order"
        )
    voxels = _voxels_by_value(label_values, labels)
    if isinstance(result, Segmentation):
        voxels = _voxels_of_masks(result)  # where they overlap, more than is shown
    labelled = label_values != 0
    planes = [
        picture
        for plane, axis in NORMAL_AXIS.items()
        for picture in _pictures(volume, label_values, plane, [_fullest(labelled, axis)], window_hu)
    ]
    axials = _pictures(volume, label_values, "axial", _spread(labelled), window_hu)
    volumes_ml = {value: count * float(np.prod(volume.spacing_mm)) / 1000 for value, count in voxels.items()}
    heading = _Heading(title, _describe(volume, lang), lines_of(warnings, lang))
    _compose([*planes, *axials], labels, volumes_ml, heading, lang).save(Path(path))


def _voxels_of_masks(result: Segmentation) -> dict[int, int]:
    """Count the voxels of each structure that was found, by id."""
    channels = len(result.labels)
    counts = np.zeros(channels, np.int64)
    bytes_there_are = np.arange(256, dtype=np.uint8)
    for plane, in_it in by_byte(range(channels)).items():
        bits = result.byte_plane(plane)
        times = sum((np.bincount(sheet.ravel(), minlength=256) for sheet in bits if sheet.any()), np.zeros(256, int))
        for channel in in_it:
            counts[channel] = times[mask_in(bytes_there_are, channel)].sum()
    return {value: int(count) for value, count in zip(result.labels.ids, counts, strict=True) if count}


def _voxels_by_value(values: LabelValues, labels: LabelSet) -> dict[int, int]:
    """Count the voxels of each id that occurs.

    Raises:
        LabelError: If an id belongs to no structure.
    """
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    for sheet in values:  # one at a time, since `bincount` copies to 8 bytes per voxel
        counts += np.bincount(sheet.ravel(), minlength=counts.size)
    found = {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value}
    unknown = sorted(found.keys() - set(labels.ids))
    if unknown:
        raise LabelError(
            f"expected the ids of {len(labels)} structures in the label map, got {unknown[:5]} too; pass the "
            "label set that it was made with"
        )
    return found


def _pictures(
    volume: Volume, values: LabelValues, plane: Plane, indices: list[int], window_hu: tuple[float, float]
) -> list[_Picture]:
    """Return slices of one plane, all cropped to the same box around the body."""
    spacing = plane_spacing(volume.spacing_mm, plane)
    hus = [take_plane(volume.hu, plane, index) for index in indices]
    marked = [take_plane(values, plane, index) for index in indices]
    content = np.any([(hu > BODY_HU) | (mark > 0) for hu, mark in zip(hus, marked, strict=True)], axis=0)
    box = content_box(content, [round(_BODY_MARGIN_MM / edge) for edge in reversed(spacing)])
    return [
        _Picture(plane, _position_mm(volume, plane, index), window_to_grey(hu[box], window_hu), mark[box], spacing)
        for index, hu, mark in zip(indices, hus, marked, strict=True)
    ]


def _position_mm(volume: Volume, plane: Plane, index: int) -> float:
    """Return the RAS+ position in mm of a slice's centre along its normal axis."""
    axis = NORMAL_AXIS[plane]
    place = [(size - 1) / 2 for size in volume.shape]
    place[axis] = index
    return float((volume.affine @ np.array([*place, 1.0]))[axis])


def _fullest(labelled: np.ndarray, axis: int) -> int:
    """Return the slice across an axis with the most labelled voxels; the middle one of equals."""
    counts = np.count_nonzero(labelled, axis=tuple(other for other in range(3) if other != axis))
    equal = np.flatnonzero(counts == counts.max())
    return int(equal[len(equal) // 2])


def _spread(labelled: np.ndarray) -> list[int]:
    """Return axial slices evenly spread over the labelled part, or the whole scan if there is none, from top down."""
    (along,) = content_box(np.asarray(labelled.any(axis=(0, 1))), (0,))
    inside = along.stop - along.start
    number = min(AXIAL_ROW, inside)
    return [along.start + int((part + 0.5) * inside / number) for part in reversed(range(number))]


def _describe(volume: Volume, lang: Language) -> str:
    shape = " × ".join(str(size) for size in volume.shape)
    spacing = " × ".join(short(edge, lang) for edge in volume.spacing_mm)
    return say("{shape} voxels of {spacing} mm", lang, shape=shape, spacing=spacing)


@dataclass(frozen=True)
class _Heading:
    """Texts above the pictures."""

    title: str
    details: str
    warnings: list[tuple[str, str]]


def _compose(
    pictures: list[_Picture], labels: LabelSet, volumes_ml: dict[int, float], heading: _Heading, lang: Language
) -> Sheet:
    """Compose the sheet; the first three pictures are the planes, the others axial slices."""
    top = _HEADER + warning_height(heading.warnings)
    aspects = [picture.aspect for picture in pictures]
    places = arrange(aspects[:3], aspects[3:], top, _MARGIN, _WIDTH - 2 * _MARGIN)
    ids = sorted(volumes_ml, key=lambda value: (-volumes_ml[value], value))
    shown = {int(value) for picture in pictures for value in np.unique(picture.values)}
    beside = {value: LegendEntry(f"{millilitres(volumes_ml[value], lang)} ml", value in shown) for value in ids}
    legend_top = bottom_of(places) + GAP
    nothing = say("Nothing is labelled in this scan.", lang)
    legend = Legend.of(ids, labels, _WIDTH - 2 * _MARGIN, nothing, lang, beside)
    note = _NOTE if legend.has_empty_squares else 0
    sheet = Sheet(_WIDTH, round(legend_top + legend.height + note + _MARGIN))
    sheet.text(_MARGIN, _HEADER / 2, heading.title, 22, longest=_LONGEST_TITLE, weight="bold")
    sheet.text(_WIDTH - _MARGIN, _HEADER / 2, heading.details, 15, DIM, ha="right")
    draw_warnings(sheet, heading.warnings, _HEADER, _MARGIN)
    colours = palette(labels)
    for picture, place in zip(pictures, places, strict=True):
        _draw(sheet, picture, place, colours, lang)
    legend.draw(sheet, _MARGIN, legend_top)
    if note:
        text = say("An empty square: found, but in none of these pictures.", lang)
        sheet.text(_MARGIN, legend_top + legend.height + note / 2, text, 14, DIM)
    return sheet


def _draw(sheet: Sheet, picture: _Picture, place: Place, colours: UInt8[np.ndarray, "n 3"], lang: Language) -> None:
    """Draw a picture with its plane and position above."""
    positive, negative = _SIDES[picture.plane]
    side = say(negative if picture.position_mm < 0 else positive, lang)
    caption = f"{say(picture.plane, lang)}, {side} {number(abs(picture.position_mm), 1, lang)} mm"
    sheet.text(place.left + place.width / 2, place.top - CAPTION / 2, caption, 14, DIM, ha="center")
    view = sheet.view(place.left, place.top, place.width, place.height, picture.spacing_mm)
    view.image(picture.grey)
    if place.room:
        view.widen(place.room / place.width)
    view.structures(picture.values, colours, _OPACITY, _LINE_PX)
    view.marks(picture.plane, lang=lang)
    view.scale_bar()
