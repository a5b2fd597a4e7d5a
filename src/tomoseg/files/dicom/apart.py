"""Separation of several scans in one series, by the headers of images of the same size and orientation.

Within a scan, a header value is constant, or constant in blocks that follow one another along the body (head and chest
as two acquisitions), or changes from slice to slice (times, a modulated tube current). Two scans in one series cover
the same stretch of the body, which shows in

- **marks**: slices with one value (a kernel, an acquisition) lie between those with another, or at the same positions;
- **orders**: in order of number, time or file name, the slices run along the body, and then again;
- **numbers that occur twice**, slice by slice.

Parts must be stacks themselves, as evenly spaced as slices of a scan. A few unusual slices do not count as a second
scan, and two acquisitions that overlap where they meet stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float

from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.ways import SMALLEST_RUN, Groups, Places, ways_to_group
from tomoseg.files.stack import EVEN_VOXELS, SAME_PLACE_MM

REPEATED_SHARE = 0.9
"""A series with slices at the same positions is separated if one part covers this share of all positions. Parts that
follow one another along the body stay together."""

SHARED_STRETCH = 0.25
"""Parts at different positions are two scans if this share of the smaller one lies in the stretch of the other, and
each has this share of the slices there."""

EVEN_SHARE = 0.8
"""Minimum share of gaps in a scan that are the usual gap, or multiples of it where slices are missing."""


@dataclass(frozen=True)
class Part:
    """Images that form a stack.

    Attributes:
        numbers: Indices of the images.
        told: Description of what distinguishes them from the others.
    """

    numbers: tuple[int, ...]
    told: str


Others = Float[np.ndarray, "m"]


def parts_of(images: Sequence[ImageHeader], places: Places) -> list[Part]:
    """Return the stacks in a series; none if there is no sign of more than one.

    Args:
        images: Images of one series, size and orientation.
        places: `(n,)`, position of each along the normal in mm.
    """
    repeats = count_places(places) < len(places)
    for groups, words in ways_to_group(images, places):
        parts = groups if repeats and _cover(groups, places) else _classes(groups, places)
        if len(parts) > 1:
            return [Part(tuple(sorted(part)), words(number, part)) for number, part in enumerate(parts)]
    return []


def count_places(places: Places) -> int:
    """Count the different positions."""
    return 1 + int((np.diff(np.sort(places)) >= SAME_PLACE_MM).sum())


def _cover(groups: Groups, places: Places) -> bool:
    """Whether one of several groups covers nearly all positions."""
    largest = max((count_places(places[group]) for group in groups), default=0)
    return len(groups) > 1 and largest >= REPEATED_SHARE * count_places(places)


def _classes(groups: Groups, places: Places) -> Groups:
    """Merge groups that may belong to one scan; return none if all may, or if the parts are not stacks."""
    classes: list[Groups] = []
    for group in groups:
        _add(group, classes, places)
    if len(classes) < 2:
        return []
    parts = [list(chain.from_iterable(one)) for one in classes]
    rest = set(range(len(places))).difference(*parts)
    max(parts, key=len).extend(sorted(rest))
    sound = all(len(part) >= len(parts) and is_even(np.sort(places[part])) for part in parts)
    return parts if sound else []


def _add(group: list[int], classes: list[Groups], places: Places) -> None:
    """Add a group of several slices to the first class that it may be part of, or start a new class."""
    if len(group) < 2:
        return
    for one in classes:
        if not any(_are_two(places[group], places[other]) for other in one):
            one.append(group)
            return
    classes.append([group])


def _are_two(one: Places, other: Others) -> bool:
    """Whether two groups of slices cover the same stretch of the body, as two scans do."""
    if min(one.max(), other.max()) < max(one.min(), other.min()) - SAME_PLACE_MM:
        return False
    first, second = np.sort(one), np.sort(other)
    if min(len(one), len(other)) >= SMALLEST_RUN and _at_places_of(first, second) >= REPEATED_SHARE:
        return True
    low, high = max(first[0], second[0]), min(first[-1], second[-1])
    first, second = (_alone(a[(a >= low) & (a <= high)], b) for a, b in ((first, second), (second, first)))
    fewer, both = min(len(first), len(second)), len(first) + len(second)
    if fewer < 2 or fewer < SHARED_STRETCH * max(both, min(len(one), len(other))):
        return False
    labels = np.repeat([0, 1], [len(first), len(second)])[np.argsort(np.concatenate([first, second]), kind="stable")]
    return int(np.count_nonzero(np.diff(labels))) >= 3


def _at_places_of(one: Places, other: Others) -> float:
    """Return the share of the smaller group that lies at positions of the other."""
    fewer, more = (one, other) if len(one) <= len(other) else (other, one)
    return 1 - len(_alone(fewer, more)) / len(fewer)


def _alone(some: Places, others: Others) -> Float[np.ndarray, "k"]:
    """Return the positions that are not among others, which must be sorted."""
    near = np.searchsorted(others, some)
    gaps = [np.abs(some - others[np.clip(near + step, 0, len(others) - 1)]) for step in (-1, 0)]
    return some[np.minimum(*gaps) >= SAME_PLACE_MM]


def is_even(places: Places) -> bool:
    """Whether sorted positions are evenly spaced: nearly all gaps are the usual one, or multiples of it."""
    gaps = np.diff(places)
    gaps = gaps[gaps >= SAME_PLACE_MM]
    if len(gaps) < 2:
        return True
    usual = float(np.median(gaps))
    steps = gaps / usual
    whole = np.abs(steps - np.maximum(np.rint(steps), 1)) <= 2 * EVEN_VOXELS
    return bool(whole.mean() >= EVEN_SHARE)
