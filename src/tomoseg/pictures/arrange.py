"""Where the pictures of a sheet lie: rows of one height, or strips of a few slices beside the axial slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_ASPECT, MOST_ASPECT = 0.3, 1.8
"""Width by height of a picture's place; a thinner or flatter picture leaves some of its place empty."""

CAPTION, GAP = 26, 8
"""Pixels above each picture, and between pictures."""

_TALLEST_ROW = 900
_ROOM, _LEAST_HEIGHT = 20, 76
"""What a strip gets above and below for what is written on it, and the height that it has at least with it."""


@dataclass(frozen=True)
class Place:
    """Where a picture lies, in pixels from the sheet's top left; its caption is above it.

    Attributes:
        left: Of the picture.
        top: Of the picture.
        width: The width of the picture.
        height: With the room above and below.
        room: What is free above the picture, and below.
    """

    left: float
    top: float
    width: float
    height: float
    room: float = 0.0


def clipped(aspect: float) -> float:
    """Width by height of the place of a picture."""
    return min(max(aspect, LEAST_ASPECT), MOST_ASPECT)


def arrange(planes: Sequence[float], axials: Sequence[float], top: float, left: float, width: float) -> list[Place]:
    """Places of an axial, a coronal and a sagittal picture, and of more axial ones.

    The first three fill a row and the others the next. Of a scan of a few slices, whose coronal and sagittal pictures
    are strips, these lie above each other with the other slices below them, beside the large axial one.

    Args:
        planes: Width by height of the axial, coronal and sagittal picture.
        axials: The same of the others, which are alike.
        top: Where they begin.
        left: Likewise.
        width: What they may take.
    """
    if min(planes[1:]) <= MOST_ASPECT:
        first = _row([clipped(aspect) for aspect in planes], top, left, width)
        return [*first, *_row([clipped(aspect) for aspect in axials], bottom_of(first) + GAP, left, width)]
    low, high = 0.25 * width, 0.8 * width
    for _ in range(40):  # the width of the large one at which both sides are of one height
        middle = (low + high) / 2
        places = _beside(planes, axials, (left, top), middle, width)
        low, high = (low, middle) if bottom_of(places[:1]) > bottom_of(places[1:]) else (middle, high)
    return places


def bottom_of(places: Sequence[Place]) -> float:
    """Where the lowest ends."""
    return max(place.top + place.height for place in places)


def _row(aspects: Sequence[float], top: float, left: float, width: float) -> list[Place]:
    """Of one height, at which they fill the width if that is not too high; then centred."""
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
