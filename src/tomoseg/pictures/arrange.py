"""Layout of the pictures on a sheet: rows of equal height, or strips beside a large axial picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_ASPECT, MOST_ASPECT = 0.3, 1.8
"""Limits of the aspect ratio (width / height) of a place; a more extreme picture does not fill its place."""

CAPTION, GAP = 26, 8
"""Pixels above each picture, and between pictures."""

_TALLEST_ROW = 900
_ROOM, _LEAST_HEIGHT = 20, 76
"""Space in pixels above and below a strip for its marks, and the least height of a strip with this space."""


@dataclass(frozen=True)
class Place:
    """Place of a picture, in pixels from the top left corner of the sheet; the caption is above the place.

    Attributes:
        left: Left edge of the place.
        top: Top edge of the place.
        width: Width of the place.
        height: Height of the place, including the free space above and below the picture.
        room: Height of the free space above the picture, and of that below it.
    """

    left: float
    top: float
    width: float
    height: float
    room: float = 0.0


def clipped(aspect: float) -> float:
    """Return the aspect ratio of a picture's place."""
    return min(max(aspect, LEAST_ASPECT), MOST_ASPECT)


def arrange(planes: Sequence[float], axials: Sequence[float], top: float, left: float, width: float) -> list[Place]:
    """Place an axial, a coronal and a sagittal picture, and more axial ones.

    The first three fill a row and the others the next. In a scan of few slices, whose coronal and sagittal pictures are
    strips, these lie above each other with the other slices below them, beside the large axial one.

    Args:
        planes: Aspect ratio (width / height) of the axial, coronal and sagittal picture.
        axials: Aspect ratio of each of the other axial pictures.
        top: Top edge in pixels.
        left: Left edge in pixels.
        width: Available width in pixels.

    Returns:
        The places of `planes`, then those of `axials`.
    """
    if min(planes[1:]) <= MOST_ASPECT:
        first = _row([clipped(aspect) for aspect in planes], top, left, width)
        return [*first, *_row([clipped(aspect) for aspect in axials], bottom_of(first) + GAP, left, width)]
    low, high = 0.25 * width, 0.8 * width
    for _ in range(40):  # bisect the large one's width until both sides have the same height
        middle = (low + high) / 2
        places = _beside(planes, axials, (left, top), middle, width)
        low, high = (low, middle) if bottom_of(places[:1]) > bottom_of(places[1:]) else (middle, high)
    return places


def bottom_of(places: Sequence[Place]) -> float:
    """Return the lower edge of the lowest place."""
    return max(place.top + place.height for place in places)


def _row(aspects: Sequence[float], top: float, left: float, width: float) -> list[Place]:
    """Place pictures of equal height that fill the width, or centred at the greatest height."""
    gaps = (len(aspects) - 1) * GAP
    height = min(_TALLEST_ROW, (width - gaps) / sum(aspects))
    at = left + (width - sum(aspects) * height - gaps) / 2
    places = []
    for aspect in aspects:
        places.append(Place(at, top + CAPTION, aspect * height, height))
        at += aspect * height + GAP
    return places


def _beside(
    planes: Sequence[float], axials: Sequence[float], corner: tuple[float, float], large: float, width: float
) -> list[Place]:
    left, top = corner
    places = [Place(left, top + CAPTION, large, large / clipped(planes[0]))]
    left, width = left + large + GAP, width - large - GAP
    for aspect in planes[1:]:
        room = max(_ROOM, (_LEAST_HEIGHT - width / aspect) / 2)
        places.append(Place(left, top + CAPTION, width, width / aspect + 2 * room, room))
        top = bottom_of(places[-1:]) + GAP
    columns = min(3, len(axials))
    for first in range(0, len(axials), columns):
        row = [clipped(aspect) for aspect in axials[first : first + columns]]
        filled = row + row[:1] * (columns - len(row))
        places += _row(filled, top, left, width)[: len(row)]
        top = bottom_of(places[-1:]) + GAP
    return places
