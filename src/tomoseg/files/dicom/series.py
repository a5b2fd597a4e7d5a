"""Grouping of images to stacks that can be volumes, and choice of one of them.

The images of a stack have the same series, orientation, size and pixel size. Images other than CT slices are left out
and reported. A series that holds several scans (phases, kernels, repeats) is several stacks: see `apart`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from tomoseg.errors import InputError
from tomoseg.files.dicom.apart import parts_of
from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.lone import joined
from tomoseg.files.dicom.mixed import LONGEST_PERIOD
from tomoseg.files.dicom.whose import by_patient_and_study
from tomoseg.language.words import all_later, later, part, say, say_many, short
from tomoseg.notices import Notice
from tomoseg.settings import Language

SAME_DIRECTION = 1e-3
"""Maximum difference of the components of two slices' directions for these to be parallel (0.06 degrees)."""

PARTS = LONGEST_PERIOD + 1
"""Series numbers that are reserved for the parts of each stack, after those of the stacks."""

FEWEST_LONE = 3
"""Number of slices with a series each from which they count as a scan that was split."""

RIVAL = 0.5
"""Share of a scan's number of slices from which another scan in the same series makes the choice ambiguous."""

_ORDINALS = ("first", "second", "third", "fourth")
_COUNTED = {2: "second", 3: "third", 4: "fourth", 1: ""}
_AXIAL_COSINE = 0.7
_PLANES = all_later("sagittal", "coronal", "axial")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NO_SLICES = {
    "LOCALIZER": part("localizers"),
    "DOSE_INFO": part("dose sheets"),
    "SCREEN SAVE": part("screen captures"),
    "SCREENSHOT": part("screen captures"),
    "PERFUSION": part("perfusion maps"),
}


_IN_MESSAGES = (
    *(part("{}, 1 image of {} x {}"), part("{}, {} images of {} x {}")),
    *(part("{}, 1 image of {} x {} at {} mm"), part("{}, {} images of {} x {} at {} mm")),
    *(part("{}, 1 image of {} x {} ({})"), part("{}, {} images of {} x {} ({})")),
    *(part("{}, 1 image of {} x {} at {} mm ({})"), part("{}, {} images of {} x {} at {} mm ({})")),
    *(part("series number {}"), part("axial"), part("coronal"), part("sagittal"), part("unknown plane")),
)
"""What `Stack.described` says in English, which messages quote and the catalogue translates there."""


@dataclass(frozen=True)
class Stack:
    """Images of one series, size and orientation, in the order of their numbers.

    Attributes:
        images: One or more images.
        told: Descriptions of what distinguishes them from other images of their series.
    """

    images: tuple[ImageHeader, ...]
    told: tuple[str, ...] = ()

    @property
    def plane(self) -> str:
        """Nearest of axial, coronal and sagittal, or `unknown plane` without an orientation."""
        normal = self._normal()
        return later("unknown plane") if normal is None else _PLANES[int(np.abs(normal).argmax())]

    @property
    def is_axial(self) -> bool:
        """Whether slices are axial, including those of a tilted gantry."""
        normal = self._normal()
        return normal is not None and bool(abs(normal[2]) >= _AXIAL_COSINE)

    @property
    def pixels(self) -> int:
        """Total number of pixels."""
        return len(self.images) * self.images[0].shape[0] * self.images[0].shape[1]

    def places_mm(self) -> Float[np.ndarray, "n"] | None:
        """Return the position of each image along the normal in mm; None unless all are known."""
        normal = self._normal()
        positions = [image.position_mm for image in self.images if image.position_mm is not None]
        if normal is None or len(positions) < len(self.images):
            return None
        return np.stack(positions) @ normal

    def _normal(self) -> Float[np.ndarray, "3"] | None:
        orientation = self.images[0].orientation
        return None if orientation is None else np.cross(orientation[0], orientation[1])

    def __str__(self) -> str:
        return self.described("en")

    def described(self, lang: Language) -> str:
        """What it is, for one who chooses among several.

        Args:
            lang: The language.
        """
        first = self.images[0]
        size = say_many(
            len(self.images),
            "{plane}, 1 image of {rows} x {columns}",
            "{plane}, {count} images of {rows} x {columns}",
            lang,
            plane=say(self.plane, lang),
            rows=first.shape[0],
            columns=first.shape[1],
        )
        pixel = "" if first.pixel_mm is None else say(" at {size} mm", lang, size=short(first.pixel_mm[0], lang))
        words = [] if first.series_number is None else [say("series number {number}", lang, number=first.series_number)]
        words += self.told
        return size + pixel + (f" ({', '.join(words)})" if words else "")


def slices_among(images: Sequence[ImageHeader]) -> tuple[list[ImageHeader], Counter[str]]:
    """Return the images that can be slices of a CT, and the numbers of others by kind."""
    kept, others = [], Counter[str]()
    for image in images:
        kind = kind_of_other(image)
        if kind is None:
            kept.append(image)
        else:
            others[kind] += 1
    return kept, others


def kind_of_other(image: ImageHeader) -> str | None:
    """Return the kind of an image that is not a CT slice; None for a CT slice."""
    if image.modality not in {"CT", ""}:
        return f"images of modality {image.modality[:8]}" if image.modality.isalpha() else "images of no modality"
    for word, kind in _NO_SLICES.items():
        if word in image.image_type:
            return kind
    if image.colours != 1 or (image.position_mm is None and image.sop_class_uid.startswith(_SECONDARY_CAPTURE)):
        return part("screen captures")
    return None


def stacks_of(images: Sequence[ImageHeader]) -> list[Stack]:
    """Group images to stacks, each of one study, in the order of series number and first image."""
    stacks = [stack for of_one in by_patient_and_study(images) for stack in _stacks_of_study(of_one)]
    return sorted(stacks, key=lambda stack: _in_order(stack.images[0]))


def _stacks_of_study(images: Sequence[ImageHeader]) -> list[Stack]:
    groups: dict[tuple, list[ImageHeader]] = {}
    directions: list[Float[np.ndarray, "2 3"]] = []
    for image in sorted(joined(images), key=_in_order):
        key = (image.series, image.frame is None, image.shape, _rounded(image.pixel_mm), _direction(image, directions))
        groups.setdefault(key, []).append(image)
    return [part for group in groups.values() for part in _apart(Stack(tuple(group)))]


def _in_order(image: ImageHeader) -> tuple:
    number = -1 if image.series_number is None else image.series_number
    return (number, image.series, image.frame is not None, -1 if image.number is None else image.number)


def _rounded(pixel_mm: tuple[float, float] | None) -> tuple[float, ...] | None:
    return None if pixel_mm is None else tuple(round(edge, 4) for edge in pixel_mm)


def _direction(image: ImageHeader, known: list[Float[np.ndarray, "2 3"]]) -> int:
    """Return the index of an image's orientation among the known ones, to which it is added; -1 without one."""
    if image.orientation is None:
        return -1
    for number, other in enumerate(known):
        if np.abs(other - image.orientation).max() <= SAME_DIRECTION:
            return number
    known.append(image.orientation)
    return len(known) - 1


def _apart(stack: Stack) -> list[Stack]:
    """Return the phases, kernels, times or repeats of a stack that holds several; otherwise the stack."""
    places = stack.places_mm()
    parts = [] if places is None or len(places) < 2 else parts_of(stack.images, places)
    smaller = (
        Stack(tuple(stack.images[number] for number in part.numbers), (*stack.told, part.told)) for part in parts
    )
    return [piece for one in smaller for piece in _apart(one)] or [stack]


@dataclass(frozen=True)
class Choice:
    """The choice of a stack to read.

    Attributes:
        stack: The stack.
        number: Its number, from 1.
        is_asked_for: Whether it was requested by its number.
        first_part: Series number of its first part, if its slices turn out to be of several scans.
        part: The requested part, from 0; the one after the last is the whole stack as one scan. None for no part.
        refusal: The message if there is no such part.
    """

    stack: Stack
    number: int
    is_asked_for: bool
    first_part: int
    part: int | None = None
    refusal: str = ""


def choose(stacks: Sequence[Stack], series: int | None, name: str) -> tuple[Choice, list[Notice]]:
    """Choose the requested stack, or the largest axial one.

    Args:
        stacks: One or more stacks.
        series: Its number from 1, or after the last that of a part of one; None for the largest axial one.
        name: Path of the series in messages.

    Returns:
        The choice, and notices about it.

    Raises:
        InputError: If there is no such number, slices form no stack, or several scans of a series could be meant.
    """
    listed = listing(stacks)
    if series is not None:
        owner, part = divmod(series - len(stacks) - 1, PARTS)
        refusal = f"{name}: expected a series from 1 to {len(stacks)}, got {series}; choose from {listed}"
        if not 1 <= series <= len(stacks) * (1 + PARTS):
            raise InputError(refusal)
        if series > len(stacks):
            return replace(_choice(stacks, owner, True), part=part, refusal=refusal), []
        return _choice(stacks, series - 1, True), []
    number = largest_axial(stacks)
    chosen = stacks[number]
    _check_is_no_lone_slice(chosen, stacks, listed, name)
    _check_has_no_rival(chosen, stacks, listed, name)
    return _choice(stacks, number, False), _of_choice(chosen, stacks, listed)


def listing(stacks: Sequence[Stack]) -> str:
    """Describe stacks, with their numbers from 1."""
    return "; ".join(f"{number}: {stack}" for number, stack in enumerate(stacks, 1))


def largest_axial(stacks: Sequence[Stack]) -> int:
    """Return the index of the stack that is read by default: the one with the most pixels, axial if there is any."""
    axial = [number for number, stack in enumerate(stacks) if stack.is_axial]
    return max(axial or range(len(stacks)), key=lambda number: stacks[number].pixels)


def _choice(stacks: Sequence[Stack], number: int, is_asked_for: bool) -> Choice:
    return Choice(stacks[number], number + 1, is_asked_for, len(stacks) + 1 + PARTS * number)


def _check_is_no_lone_slice(chosen: Stack, stacks: Sequence[Stack], listed: str, name: str) -> None:
    """Refuse a single slice if there are several that each have a series of their own.

    Raises:
        InputError: If it is such a slice.
    """

    def alike(stack: Stack) -> tuple[object, ...]:
        first = stack.images[0]
        return (len(stack.images), first.frame is None, first.patient, first.series_number, first.shape)

    lone = [stack for stack in stacks if alike(stack) == alike(chosen)]
    if len(chosen.images) == 1 and len(lone) >= FEWEST_LONE:
        raise InputError(
            f"{name}: expected the slices of a scan in one series, got {len(lone)} slices, each in its own "
            "series, from different studies or frames of reference or at uneven positions; export them as one "
            f"series, or choose with --series from {listed}"
        )


def rivals_of(chosen: Stack, stacks: Sequence[Stack]) -> list[Stack]:
    """Return other scans in the same series, such as phases, that are about as large, so that either may be meant."""
    return [
        stack
        for stack in stacks
        if stack is not chosen
        and (chosen.told and stack.told and _are_of_one_series(stack, chosen))
        and len(stack.images) >= RIVAL * len(chosen.images)
    ]


def _check_has_no_rival(chosen: Stack, stacks: Sequence[Stack], listed: str, name: str) -> None:
    """Refuse one of several scans in a series, unless it is by far the largest.

    Raises:
        InputError: If another is about as large.
    """
    rivals = rivals_of(chosen, stacks)
    if rivals:
        raise InputError(
            f"{name}: expected one scan in a series, got {1 + len(rivals)} of the same part of the body, and "
            f"nothing says which is meant; choose with --series from {listed}"
        )


def _are_of_one_series(stack: Stack, other: Stack) -> bool:
    one, another = stack.images[0], other.images[0]
    return (one.patient, one.series) == (another.patient, another.series)


def check_one_scan(choice: Choice, slices: int, period: int, name: str) -> int:
    """Refuse a stack in which the slices of several scans alternate, unless a part of it was requested.

    Args:
        choice: The stack and the part.
        slices: Number of its slices.
        period: Number of scans that alternate.
        name: Path of the series in messages.

    Returns:
        The part, from 0; -1 for all slices.

    Raises:
        InputError: If no part was requested, or there is no such part.
    """
    if choice.part is None and period == 1:
        return -1
    parts = [f"every {_COUNTED[period]} slice from the {_ORDINALS[number]}" for number in range(period)]
    parts.append(f"all {slices} slices as one scan")
    listed = "; ".join(f"{number}: {words}" for number, words in enumerate(parts, choice.first_part))
    if choice.part is None:
        raise InputError(
            f"{name}: expected one scan, got slices of {period} interleaved scans, judging by what they show "
            "or by their gaps, and nothing in the headers tells these apart; export them separately, or "
            f"choose with --series from {listed}"
        )
    if period == 1 or choice.part > period:
        raise InputError(choice.refusal)
    return -1 if choice.part == period else choice.part


def _of_choice(chosen: Stack, stacks: Sequence[Stack], listed: str) -> list[Notice]:
    """Return notices about a stack that was chosen by default."""
    words = []
    if len(stacks) > 1:
        number = next(number for number, stack in enumerate(stacks, 1) if stack is chosen)
        text = (
            f"{len(stacks)} series were found ({listed}); the largest axial one, number {number}, was used. "
            "Choose another with --series."
        )
        words.append(Notice(text, "several series"))
    if not chosen.is_axial and chosen.images[0].orientation is not None:
        text = f"The slices are {chosen.plane}; expected axial ones. Use the axial series if there is one."
        words.append(Notice(text, "slice direction"))
    return words
