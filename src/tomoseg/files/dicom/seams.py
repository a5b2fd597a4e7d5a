"""Where the slices of one stack were made in different ways: parts joined end to end, or odd slices among others.

A scan has one kernel, one voltage, one field of view. Where these change along the body the slices are read as one
scan all the same, since they lie as those of one, and it is said which slices have what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from jaxtyping import Float64

from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.traits import HASH_LENGTH, MARKS
from tomoseg.notices import Notice

CALLED = {
    "kernel": "kernel {}",
    "kV": "{} kV",
    "field in mm": "a field of {} mm",
    "thickness in mm": "slices of {} mm",
    "filter": "filter {}",
    "contrast agent": "{} contrast agent",
    "space": "{} frame of reference",
}
"""Marks that the slices of a scan have in common, and how a value of them is called."""

NUMBERS = frozenset({"kV", "field in mm", "thickness in mm"})

MAY_LACK = frozenset({"contrast agent"})
"""What says something where it is absent; elsewhere a slice without a value is no other."""

SAME_NUMBER = 0.01
"""Numbers that differ by less than this share are one number, rounded in other ways."""

MOST_PARTS = 4
"""More are no parts but odd slices."""

JUMP, DRIFT, FEWEST = 2.0, 1.25, 3
"""A tube current goes up and down by up to `DRIFT` from slice to slice; one that jumps by `JUMP` between parts of so
many slices at the least is that of another acquisition."""

_WHICH = ("one", "another", "a third", "yet another")

Labels = list[str | None]
"""Of each slice what it has, in words; None where it is not known."""


def seams(images: Sequence[ImageHeader]) -> list[Notice]:
    """What differs among the slices of a stack, in one sentence; nothing if they were made alike.

    Args:
        images: In the order of their places.
    """
    labels = [_of_mark(images, number) for number, mark in enumerate(MARKS) if mark.words in CALLED]
    labels.append(_of_current(images))
    differing = [_filled(one) for one in labels if len({label for label in one if label is not None}) > 1]
    if not differing:
        return []
    text = (
        f"The slices were not made alike: {_told(differing)}, in the order of position. They were read as one scan; "
        "edges, noise or HU may change where they meet. Look at the masks there, or export the parts apart."
    )
    return [Notice(text, "joined parts")]


def _of_mark(images: Sequence[ImageHeader], number: int) -> Labels:
    mark = MARKS[number]
    values = [image.traits.marks[number] for image in images]
    if mark.words in NUMBERS:
        values = _rounded(values)
    if mark.words in MAY_LACK:
        values = [value or "" for value in values]
    which = _which(values)
    return [None if value is None else CALLED[mark.words].format(which.get(value, value)) for value in values]


def _which(values: Labels) -> dict[str, str]:
    """What to call values that must not be shown, and none."""
    hidden = [value for value in dict.fromkeys(values) if value is not None and len(value) == HASH_LENGTH]
    return {value: _WHICH[min(number, len(_WHICH) - 1)] for number, value in enumerate(hidden)} | {"": "no"}


def _rounded(values: Labels) -> Labels:
    """Numbers without those that are none; those that are nearly the same are one."""
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
    """The tube current of each part, where it jumps between parts; None where it does not."""
    currents = np.array([image.traits.exposures[0] or 0.0 for image in images])
    parts = _parts(currents) if (currents > 0).all() else []
    return [f"about {np.median(part):.3g} mA" for part in parts for _ in part] or [None] * len(images)


def _parts(currents: Float64[np.ndarray, "n"]) -> list[Float64[np.ndarray, "_"]]:
    """Currents split where they jump; none if they are not calm elsewhere, or the parts are too many or too small."""
    steps = np.abs(np.diff(np.log(currents)))
    jumps = np.flatnonzero(steps >= np.log(JUMP))
    parts = np.split(currents, jumps + 1)
    is_calm = np.delete(steps, jumps).max(initial=0.0) <= np.log(DRIFT)
    return parts if is_calm and len(parts) <= MOST_PARTS and min(map(len, parts)) >= FEWEST else []


def _filled(labels: Labels) -> list[str]:
    """Labels, what is not known taken from the slice before, or from the first that is known."""
    last = next(label for label in labels if label is not None)
    filled = []
    for label in labels:
        last = label or last
        filled.append(last)
    return filled


def _told(differing: Sequence[Sequence[str]]) -> str:
    """Which slices have what; where they are mixed, how many."""
    together = [", ".join(labels) for labels in zip(*differing, strict=True)]
    runs = [(label, len(list(run))) for label, run in groupby(together)]
    if len(runs) > MOST_PARTS:
        kinds = [Counter(labels).most_common() for labels in differing]
        return "; ".join(", ".join(f"{count} have {label}" for label, count in kind) for kind in kinds)
    ends = np.cumsum([0, *(count for _, count in runs)]).tolist()
    return "; ".join(
        f"{_range(first + 1, last)} {label}" for (label, _), (first, last) in zip(runs, pairwise(ends), strict=True)
    )


def _range(first: int, last: int) -> str:
    return f"{first} has" if first == last else f"{first}-{last} have"
