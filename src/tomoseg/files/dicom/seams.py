"""Notices of slices in one stack that were made in different ways: parts joined end to end, or single slices.

A scan has one kernel, one voltage, one field of view. If these change along the body, the slices are still read as one
scan, since their positions are those of one, and the notice lists which slices have which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from jaxtyping import Float64

from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.traits import MARKS
from tomoseg.language.words import part
from tomoseg.notices import Notice

CALLED = {
    "kernel": part("kernel {}"),
    "kV": "{} kV",
    "field in mm": "a field of {} mm",
    "thickness in mm": "a thickness of {} mm",
    "filter": part("filter {}"),
}
"""Marks that all slices of a scan should share, with a template for their values in messages."""

HIDDEN = {
    "contrast agent": (
        part("one contrast agent"),
        part("another contrast agent"),
        part("a third contrast agent"),
        part("yet another contrast agent"),
    ),
    "space": (
        part("one frame of reference"),
        part("another frame of reference"),
        part("a third frame of reference"),
        part("yet another frame of reference"),
    ),
}
"""Other such marks, whose values must not be shown, with descriptions of the first, the second and so on."""

NUMBERS = frozenset({"kV", "field in mm", "thickness in mm"})

MAY_LACK = frozenset({"contrast agent"})
"""Marks whose absence is a value of its own; for others, a slice without a value does not count as different."""

SAME_NUMBER = 0.01
"""Maximum relative difference of numbers that are the same but for rounding."""

MOST_PARTS = 4
"""Maximum number of parts; if there are more, slices are counted instead."""

JUMP, DRIFT, FEWEST = 2.0, 1.25, 3
"""Factors by which the tube current must jump between two acquisitions, and may drift from slice to slice within one,
and the minimum number of slices of each part."""

Labels = list[str | None]
"""Description of a property of each slice; None if it is unknown."""


def seams(images: Sequence[ImageHeader]) -> list[Notice]:
    """Return a notice of differences between the slices of a stack, if there are any.

    Args:
        images: Headers in the order of their positions.
    """
    labels = [
        _of_mark(images, number) for number, mark in enumerate(MARKS) if mark.words in CALLED or mark.words in HIDDEN
    ]
    labels.append(_of_current(images))
    differing = [_filled(one) for one in labels if len({label for label in one if label is not None}) > 1]
    if not differing:
        return []
    text = (
        f"The slices were not acquired alike: {_told(differing)}, in order of position. They were read as one "
        "scan; edges, noise or HU may change where the parts meet. Look at the masks there, or export the "
        "parts separately."
    )
    return [Notice(text, "joined parts")]


def _of_mark(images: Sequence[ImageHeader], number: int) -> Labels:
    mark = MARKS[number]
    values = [image.traits.marks[number] for image in images]
    if mark.words in NUMBERS:
        values = _rounded(values)
    if mark.words in MAY_LACK:
        values = [value or "" for value in values]
    describe = CALLED[mark.words].format if mark.words in CALLED else _which(values, HIDDEN[mark.words]).__getitem__
    return [None if value is None else describe(value) for value in values]


def _which(values: Labels, described: Sequence[str]) -> dict[str, str]:
    """Return descriptions of values that must not be shown, and of a missing value."""
    hidden = [value for value in dict.fromkeys(values) if value]
    known = {value: described[min(number, len(described) - 1)] for number, value in enumerate(hidden)}
    return known | {"": part("no contrast agent")}


def _rounded(values: Labels) -> Labels:
    """Parse numbers, and replace nearly equal ones by the first of them; None if it is no number."""
    kept: list[float] = []
    known = [_number(value) for value in values]
    for value in known:
        if value is not None and not any(_are_same(value, one) for one in kept):
            kept.append(value)
    return [None if one is None else f"{next(k for k in kept if _are_same(one, k)):g}" for one in known]


def _are_same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_NUMBER * max(abs(one), abs(other))


def _number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _of_current(images: Sequence[ImageHeader]) -> Labels:
    """Return the tube current of each part if it jumps between parts; otherwise None for each slice."""
    currents = np.array([image.traits.exposures[0] or 0.0 for image in images])
    parts = _parts(currents) if (currents > 0).all() else []
    return [part(f"about {np.median(some):.3g} mA") for some in parts for _ in some] or [None] * len(images)


def _parts(currents: Float64[np.ndarray, "n"]) -> list[Float64[np.ndarray, "_"]]:
    """Split currents where they jump; none if they vary elsewhere, or the parts are too many or too small."""
    steps = np.abs(np.diff(np.log(currents)))
    jumps = np.flatnonzero(steps >= np.log(JUMP))
    parts = np.split(currents, jumps + 1)
    is_calm = np.delete(steps, jumps).max(initial=0.0) <= np.log(DRIFT)
    return parts if is_calm and len(parts) <= MOST_PARTS and min(map(len, parts)) >= FEWEST else []


def _filled(labels: Labels) -> list[str]:
    """Fill unknown labels with that of the slice before, or with the first known one."""
    last = next(label for label in labels if label is not None)
    filled = []
    for label in labels:
        last = label or last
        filled.append(last)
    return filled


def _told(differing: Sequence[Sequence[str]]) -> str:
    """Describe which slices have which labels, or how many if they are mixed."""
    together = [", ".join(labels) for labels in zip(*differing, strict=True)]
    runs = [(label, len(list(run))) for label, run in groupby(together)]
    if len(runs) > MOST_PARTS:
        kinds = [Counter(labels).most_common() for labels in differing]
        return "; ".join(", ".join(part(f"{count} slices have {label}") for label, count in kind) for kind in kinds)
    ends = np.cumsum([0, *(count for _, count in runs)]).tolist()
    return "; ".join(
        _slices(first + 1, last, label) for (label, _), (first, last) in zip(runs, pairwise(ends), strict=True)
    )


def _slices(first: int, last: int, label: str) -> str:
    if first == last:
        return part(f"slice {first} has {label}")
    return part(f"slices {first}-{last} have {label}")
