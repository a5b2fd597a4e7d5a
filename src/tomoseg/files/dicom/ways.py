"""Ways to group the images of a series: by common header values, and by order. `apart` checks which make stacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Float

from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.traits import ACQUISITION, IN_PLANE_MM, MARKS, ORDERS
from tomoseg.files.stack import SAME_PLACE_MM
from tomoseg.language.words import part

MOST_VALUES, EXPOSURES_APART = 4, 0.05
"""Maximum number of values with which exposure, or position within the plane, distinguishes stacks, since both change
from slice to slice in many scans; and the minimum relative difference of exposures."""

SMALLEST_RUN = 3
"""Minimum slices of a stack that is recognised by order alone."""

IN_RUNS = 0.8
"""Minimum share of slices in such runs."""

LONGEST_SHOWN = 40

Places = Float[np.ndarray, "n"]
Groups = list[list[int]]
Way = tuple[Groups, Callable[[int, list[int]], str]]
"""Groups of images, and a function that describes one of them."""


def ways_to_group(images: Sequence[ImageHeader], places: Places) -> Iterator[Way]:
    """Yield ways to group images, the likeliest first.

    Args:
        images: Images of one series, size and orientation.
        places: `(n,)`, position of each along the normal in mm.
    """
    yield from _by_marks(images)
    yield from _by_order(images, places)


def _by_marks(images: Sequence[ImageHeader]) -> Iterator[Way]:
    """Yield groups with a common value."""
    for number, mark in enumerate(MARKS):
        values = [image.traits.marks[number] for image in images]
        yield _by_value(values), _words_of(mark.words, values if mark.is_shown else [])
    yield from _by_few(images)
    yield _by_value([_place_of_file(image)[0] for image in images]), _words_of(part("folder"), [])


def _by_few(images: Sequence[ImageHeader]) -> Iterator[Way]:
    """Yield groups by values that change from slice to slice in many scans, if there are few different ones."""
    for labels in (_in_plane(images, axis) for axis in (0, 1)):
        if len(set(labels)) <= MOST_VALUES:
            yield _by_value(labels), _words_of(part("position within the plane"), [])
    exposures = [image.traits.exposures for image in images]
    if len(set(exposures)) <= MOST_VALUES and _differ(set(exposures)):
        yield _by_value(exposures), _words_of(part("exposure"), [])


def _by_order(images: Sequence[ImageHeader], places: Places) -> Iterator[Way]:
    """Yield groups that each run along the body, in order of numbers, times and file names."""
    yield (
        _twins([image.number for image in images], places),
        lambda number, part: f"the {_ordinal(number)} of the images of each number",
    )
    for words, values in _orders(images):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            runs = [run for run in _turned(_runs(known, places), places) if len(run) >= SMALLEST_RUN]
            if sum(map(len, runs)) >= IN_RUNS * len(images):
                yield runs, _words_of(words, [])


def _orders(images: Sequence[ImageHeader]) -> Iterator[tuple[str, Sequence[float | None]]]:
    yield part("acquisition number"), [_whole(image.traits.marks[ACQUISITION]) for image in images]
    for order in range(len(ORDERS)):
        yield "time", [image.traits.times[order] for image in images]
    yield part("image number"), [image.number for image in images]
    yield part("file name"), _ranks([_place_of_file(image)[1] for image in images])


def _words_of(words: str, values: Sequence[str | None]) -> Callable[[int, list[int]], str]:
    """Return a function that describes a part by its value, if it has only one that may be shown, or by its number."""

    def told(number: int, part: list[int]) -> str:
        shown = {values[image] for image in part} if values else set()
        value = shown.pop() if len(shown) == 1 else None
        return (
            f"the {_ordinal(number)} by {words}" if value is None or len(value) > LONGEST_SHOWN else f"{words} {value}"
        )

    return told


def _ordinal(number: int) -> str:
    return (part("first"), part("second"), part("third"), part("fourth"))[number] if number < 4 else f"{number + 1}th"


def _by_value(values: Sequence[Hashable]) -> Groups:
    groups: dict[Hashable, list[int]] = {}
    for number, value in enumerate(values):
        groups.setdefault(value, []).append(number)
    return list(groups.values())


def _within(image: ImageHeader, axis: int) -> float | None:
    """Return the position of the first pixel along an axis of the plane in mm."""
    if image.position_mm is None or image.orientation is None:
        return None
    return float(image.position_mm @ image.orientation[axis])


def _in_plane(images: Sequence[ImageHeader], axis: int) -> list[int]:
    """Number the positions of first pixels within the plane, which differ between reconstructions of other centres."""
    known = [mm for image in images if (mm := _within(image, axis)) is not None]
    if len(known) < len(images):
        return [0] * len(images)
    offsets = np.array(known)
    order = np.argsort(offsets, kind="stable")
    labels = np.empty(len(offsets), int)
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(offsets[order]) > IN_PLANE_MM)])
    return [int(label) for label in labels]


def _differ(exposures: set[tuple[float | None, ...]]) -> bool:
    """Whether any two of the exposures differ in one of their values."""
    return all(_are_apart(one, other) for one, other in combinations(exposures, 2))


def _are_apart(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return any(abs(a - b) > EXPOSURES_APART * max(abs(a), abs(b)) for a, b in pairs)


def _place_of_file(image: ImageHeader) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Return the folder of an image's file, and its name in natural order: 2 before 10."""
    path = str(image.entry.path) if image.entry.member is None else image.entry.member
    folder, _, name = path.replace("\\", "/").rpartition("/")
    parts = re.split(r"(\d+)", name)
    return folder, tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _ranks(names: Sequence[tuple[tuple[int, str], ...]]) -> list[int]:
    ranks = {name: rank for rank, name in enumerate(sorted(set(names)))}
    return [ranks[name] for name in names]


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"-?\d{1,9}", value) else None


def _twins(numbers: Sequence[int | None], places: Places) -> Groups:
    """Group slices with repeated numbers by position: the first of each number, the second of each, and so on."""
    times = Counter(numbers)
    often = max(times.values())
    if often < 2 or None in times or list(times.values()).count(often) < IN_RUNS * len(times):
        return []
    order = np.argsort(places, kind="stable").tolist()
    groups = [order[first::often] for first in range(often)]
    unlike = all(len({numbers[image] for image in group}) == len(group) for group in groups)
    return groups if unlike and min(map(len, groups)) >= SMALLEST_RUN else []


def _runs(values: Sequence[float], places: Places) -> Groups:
    """Split images, sorted by values, into runs along the body in one direction; equal values are one step."""
    runs: Groups = []
    lowest = highest = direction = 0.0
    for step in _steps(values, places):
        low, high = float(places[step].min()), float(places[step].max())
        way = 1.0 if low > highest - SAME_PLACE_MM else -1.0 if high < lowest + SAME_PLACE_MM else 0.0
        if runs and way and way * direction >= 0:
            runs[-1] += step
            lowest, highest, direction = min(low, lowest), max(high, highest), way
        else:
            runs.append(list(step))
            lowest, highest, direction = low, high, 0.0
    return runs


def _turned(runs: Groups, places: Places) -> Groups:
    """Move the last image of a run to the next one if it belongs there: a run back starts beyond the end of the last.

    It belongs there if its distance to the next run, and not that to its neighbour, is the usual one.
    """
    for run, following in pairwise(runs):
        if min(len(run) - 1, len(following)) < SMALLEST_RUN:
            continue
        last = places[run[-1]]
        here = abs(abs(last - places[run[-2]]) - _usual_gap(run[:-1], places))
        there = abs(abs(last - places[following[0]]) - _usual_gap(following, places))
        if there + SAME_PLACE_MM < here:
            following.insert(0, run.pop())
    return runs


def _usual_gap(run: list[int], places: Places) -> float:
    return float(np.median(np.abs(np.diff(places[run]))))


def _steps(values: Sequence[float], places: Places) -> Groups:
    order = np.lexsort((places, np.array(values, float))).tolist()
    steps: Groups = []
    for image in order:
        if steps and values[steps[-1][0]] == values[image]:
            steps[-1].append(image)
        else:
            steps.append([image])
    return steps
