"""Rescale slope and intercept of slices: missing ones are inferred, and unusual ones reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Int16

from tomoseg.errors import InputError
from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.stack import AIR_HU
from tomoseg.notices import Notice

LEAST_STEP_HU = 20.0
"""Minimum shift of the median HU of body or air from one slice to the next that counts as a jump."""

EXPLAINED = 0.25
"""Maximum share of a jump that is left with the neighbour's scale if the scale is wrong."""

_BODY_HU, _ACROSS, _FEWEST = -500, 128, 100
_NO_UNIT = {"HU", "", "US"}
"""Rescale types of a scan in HU; many scanners leave it unspecified (US)."""

Scale = tuple[float, float]
Plane = Int16[np.ndarray, "r c"]


def scaled(images: Sequence[ImageHeader], name: str) -> tuple[list[ImageHeader], list[Notice]]:
    """Give slices without a usable scale that of the others, if these have the same one.

    Args:
        images: Headers in the order of their positions.
        name: Name of the scan in messages.

    Raises:
        InputError: If some slices have no usable scale, and those of the others differ.
    """
    without = [number for number, image in enumerate(images) if _lacks(image)]
    if not without or len(without) == len(images):
        return list(images), []
    found = {(image.slope, image.intercept) for image in images if not _lacks(image)}
    which = _which(without, len(images))
    if len(found) > 1:
        raise InputError(
            f"{name}: expected a rescale slope and intercept in each slice, got {which} without usable ones, and those "
            "of the others differ; export the series again"
        )
    slope, intercept = found.pop()
    text = (
        f"No usable rescale slope or intercept in {which}; those of the others, {slope:g} and {intercept:g}, "
        "were used. Check that these slices are as bright as the others."
    )
    return [replace(image, slope=slope, intercept=intercept) for image in images], [Notice(text, "no rescale")]


def _which(numbers: Sequence[int], slices: int) -> str:
    listed = ", ".join(str(number + 1) for number in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return f"{len(numbers)} of {slices} slices ({listed} in order of position)"


def _lacks(image: ImageHeader) -> bool:
    return image.slope is None or image.intercept is None


def steps(images: Sequence[ImageHeader], hu: Int16[np.ndarray, "n r c"]) -> list[Notice]:
    """Return a notice of slices with an unusual scale, if their HU are unusual, too.

    Many scanners write a different scale for each slice, and HU are continuous. If they are not, but would be with the
    neighbour's scale, one of the two is wrong.

    Args:
        images: Headers in the order of their positions, with the scale that was used.
        hu: `(slices, rows, columns)`, the resulting HU.
    """
    scales = [_scale(image) for image in images]
    usual = Counter(scales).most_common(1)[0][0]
    starts = [place for place in range(1, len(scales)) if scales[place] != scales[place - 1]]
    shifts = {at: _shift(hu[at - 1], hu[at], scales[at - 1], scales[at]) for at in starts}
    odd = _jumping(scales, usual, starts, shifts)
    if not odd:
        return []
    text = (
        f"The rescale slope or intercept differs in {_which(odd, len(images))} from the others ({usual[0]:g} "
        f"and {usual[1]:g}), and HU jump by up to {max(map(abs, shifts.values())):.0f} from slice to slice "
        "there. They were applied as the files give them, so masks on these slices, or on the others, are "
        "wrong: export the series again."
    )
    return [Notice(text, "uneven HU")]


def _jumping(scales: Sequence[Scale], usual: Scale, starts: list[int], shifts: dict[int, float]) -> list[int]:
    """Return the slices in runs of an unusual scale at whose ends HU jump."""
    runs = pairwise([0, *starts, len(scales)])
    jumping = [run for run in runs if scales[run[0]] != usual and any(shifts.get(end) for end in run)]
    return [place for run in jumping for place in range(*run)]


def _scale(image: ImageHeader) -> Scale:
    return (1.0 if image.slope is None else image.slope, 0.0 if image.intercept is None else image.intercept)


def _shift(lower: Plane, upper: Plane, of_lower: Scale, of_upper: Scale) -> float:
    """Return the shift in HU between neighbouring slices, if it would vanish with the neighbour's scale; else 0."""
    step = max(1, min(lower.shape) // _ACROSS)
    one, other = (plane[::step, ::step].astype(np.float32).ravel() for plane in (lower, upper))
    seen = (one != AIR_HU) & (other != AIR_HU)  # padding has no scale
    one, other = one[seen], other[seen]
    as_lower = (other - of_upper[1]) / of_upper[0] * of_lower[0] + of_lower[1]
    found = 0.0
    for group in (one > _BODY_HU, one <= _BODY_HU):
        if np.count_nonzero(group) < _FEWEST:
            continue
        shift = float(np.median(other[group] - one[group]))
        if abs(shift) >= LEAST_STEP_HU and abs(np.median(as_lower[group] - one[group])) <= EXPLAINED * abs(shift):
            found = max(found, shift, key=abs)
    return found


def unit_words(images: Sequence[ImageHeader]) -> list[Notice]:
    """Return notices of a missing scale or an unusual rescale type.

    Args:
        images: Headers in the order of their positions.
    """
    words = []
    if all(map(_lacks, images)):
        text = "The slices give no rescale slope or intercept; 1 and 0 were used. Check that air is near -1000 HU."
        words.append(Notice(text, "no rescale"))
    units = {image.unit for image in images}
    others = [
        number for number, image in enumerate(images) if image.unit not in ({"HU", ""} if "HU" in units else _NO_UNIT)
    ]
    if others:
        which = (
            "The rescale type" if len(others) == len(images) else f"The rescale type of {_which(others, len(images))}"
        )
        words.append(Notice(f"{which} is not HU. Check that it is a CT, and that air is near -1000 HU.", "not HU"))
    return words
