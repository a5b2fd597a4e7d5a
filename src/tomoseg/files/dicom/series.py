"""Images put together to stacks that can be volumes, and one of them chosen.

A stack is what lies in one series, in one orientation, of one size and pixel size. Images that are no CT slices
are left out, and what was left out is said. Where a series holds several scans (phases, kernels, repeats) it is several
stacks: see `apart`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tomoseg.errors import InputError
from tomoseg.files.dicom.apart import parts_of
from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.notices import Notice

SAME_DIRECTION = 1e-3
"""How far a component of two slices' directions may differ (0.06 degrees) and the slices still be parallel."""

_AXIAL_COSINE = 0.7
_PLANES = ("sagittal", "coronal", "axial")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NO_SLICES = {
    "LOCALIZER": "localizers",
    "DOSE_INFO": "dose sheets",
    "SCREEN SAVE": "screen captures",
    "SCREENSHOT": "screen captures",
    "PERFUSION": "perfusion maps",
}


@dataclass(frozen=True)
class Stack:
    """Images of one series, size and orientation, in the order of their numbers.

    Attributes:
        images: At least one.
        told: What tells them from other images of their series, in words.
    """

    images: tuple[ImageHeader, ...]
    told: tuple[str, ...] = ()

    @property
    def plane(self) -> str:
        """Axial, coronal or sagittal, whichever is nearest; unknown without an orientation."""
        normal = self._normal()
        return "unknown plane" if normal is None else _PLANES[int(np.abs(normal).argmax())]

    @property
    def is_axial(self) -> bool:
        """Whether slices lie across the body, a tilted gantry included."""
        normal = self._normal()
        return normal is not None and bool(abs(normal[2]) >= _AXIAL_COSINE)

    @property
    def pixels(self) -> int:
        """How many there are in all."""
        return len(self.images) * self.images[0].shape[0] * self.images[0].shape[1]

    def places_mm(self) -> Float[np.ndarray, "n"] | None:
        """Where each image lies along the normal; None where it is not known of all."""
        normal = self._normal()
        positions = [image.position_mm for image in self.images if image.position_mm is not None]
        if normal is None or len(positions) < len(self.images):
            return None
        return np.stack(positions) @ normal

    def _normal(self) -> Float[np.ndarray, "3"] | None:
        orientation = self.images[0].orientation
        return None if orientation is None else np.cross(orientation[0], orientation[1])

    def __str__(self) -> str:
        first = self.images[0]
        size = f"{self.plane}, {len(self.images)} images of {first.shape[0]} x {first.shape[1]}"
        pixel = "" if first.pixel_mm is None else f" at {first.pixel_mm[0]:.3g} mm"
        words = [] if first.series_number is None else [f"series number {first.series_number}"]
        words += self.told
        return size + pixel + (f" ({', '.join(words)})" if words else "")


def slices_among(images: Sequence[ImageHeader]) -> tuple[list[ImageHeader], Counter[str]]:
    """The images that can be slices of a CT, and how many others of which kind."""
    kept, others = [], Counter[str]()
    for image in images:
        kind = _kind_of_other(image)
        if kind is None:
            kept.append(image)
        else:
            others[kind] += 1
    return kept, others


def _kind_of_other(image: ImageHeader) -> str | None:
    """What an image is, if it is no CT slice."""
    if image.modality not in {"CT", ""}:
        return f"images of modality {image.modality[:4]}" if image.modality.isalpha() else "images of no modality"
    for word, kind in _NO_SLICES.items():
        if word in image.image_type:
            return kind
    if image.colours != 1 or (image.position_mm is None and image.sop_class_uid.startswith(_SECONDARY_CAPTURE)):
        return "screen captures"
    return None


def stacks_of(images: Sequence[ImageHeader]) -> list[Stack]:
    """Put images together to stacks, in the order of series number and first image."""
    groups: dict[tuple, list[ImageHeader]] = {}
    directions: list[Float[np.ndarray, "2 3"]] = []
    for image in sorted(images, key=_in_order):
        key = (image.series, image.frame is None, image.shape, _rounded(image.pixel_mm), _direction(image, directions))
        groups.setdefault(key, []).append(image)
    stacks = [part for group in groups.values() for part in _apart(Stack(tuple(group)))]
    return sorted(stacks, key=lambda stack: _in_order(stack.images[0]))


def _in_order(image: ImageHeader) -> tuple:
    number = -1 if image.series_number is None else image.series_number
    return (number, image.series, image.frame is not None, -1 if image.number is None else image.number)


def _rounded(pixel_mm: tuple[float, float] | None) -> tuple[float, ...] | None:
    return None if pixel_mm is None else tuple(round(edge, 4) for edge in pixel_mm)


def _direction(image: ImageHeader, known: list[Float[np.ndarray, "2 3"]]) -> int:
    """The number of an image's orientation among those that came before; -1 without one."""
    if image.orientation is None:
        return -1
    for number, other in enumerate(known):
        if np.abs(other - image.orientation).max() <= SAME_DIRECTION:
            return number
    known.append(image.orientation)
    return len(known) - 1


def _apart(stack: Stack) -> list[Stack]:
    """The phases, kernels, times or repeats of a stack that holds several; else the stack."""
    places = stack.places_mm()
    parts = [] if places is None or len(places) < 2 else parts_of(stack.images, places)
    smaller = (
        Stack(tuple(stack.images[number] for number in part.numbers), (*stack.told, part.told)) for part in parts
    )
    return [piece for one in smaller for piece in _apart(one)] or [stack]


def choose(stacks: Sequence[Stack], series: int | None, name: str) -> tuple[Stack, list[Notice]]:
    """The stack that is asked for, or the largest axial one.

    Args:
        stacks: At least one.
        series: Its number from 1, or None.
        name: What to call the place in messages.

    Returns:
        The stack, and what there is to say about the choice.

    Raises:
        InputError: If there is no such number.
    """
    listed = "; ".join(f"{number}: {stack}" for number, stack in enumerate(stacks, 1))
    if series is not None:
        if not 1 <= series <= len(stacks):
            raise InputError(f"{name}: expected a series from 1 to {len(stacks)}, got {series}; choose of {listed}")
        return stacks[series - 1], []
    axial = [stack for stack in stacks if stack.is_axial]
    chosen = max(axial or stacks, key=lambda stack: stack.pixels)
    return chosen, _of_choice(chosen, stacks, listed)


def _of_choice(chosen: Stack, stacks: Sequence[Stack], listed: str) -> list[Notice]:
    """What there is to say about a stack that nobody asked for."""
    words = []
    if len(stacks) > 1:
        number = next(number for number, stack in enumerate(stacks, 1) if stack is chosen)
        text = (
            f"{len(stacks)} series were found ({listed}); the largest axial one, number {number}, was taken. "
            "Choose another with --series."
        )
        words.append(Notice(text, "several series"))
    if not chosen.is_axial and chosen.images[0].orientation is not None:
        text = (
            f"The slices are {chosen.plane}, axial ones were expected. Use the axial series of the scan if it has one."
        )
        words.append(Notice(text, "slice direction"))
    return words
