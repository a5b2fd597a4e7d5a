"""How stored values become HU, slice by slice: what lacks, what is taken for it, and what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tomoseg.errors import InputError
from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.notices import Notice


def scaled(images: Sequence[ImageHeader], name: str) -> tuple[list[ImageHeader], list[Notice]]:
    """Images with a scale each: slices without a usable one among others take that of the others, if it is one.

    Args:
        images: In the order of their places.
        name: What to call the scan in messages.

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
        f"{which} give no usable rescale slope or intercept; those of the others, {slope:g} and {intercept:g}, were "
        "taken. Check that these slices are as bright as the others."
    )
    return [replace(image, slope=slope, intercept=intercept) for image in images], [Notice(text, "no rescale")]


def _which(numbers: Sequence[int], slices: int) -> str:
    listed = ", ".join(str(number + 1) for number in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return f"{len(numbers)} of {slices} slices ({listed} in the order of position)"


def _lacks(image: ImageHeader) -> bool:
    return image.slope is None or image.intercept is None


def unit_words(images: Sequence[ImageHeader]) -> list[Notice]:
    """What is missing or odd about the scale of images."""
    words = []
    if all(map(_lacks, images)):
        text = "Slices give no rescale slope or intercept; 1 and 0 were taken. Check that air is near -1000 HU."
        words.append(Notice(text, "no rescale"))
    units = {image.unit for image in images} - {"HU", "", "US"}
    if units:
        text = "The rescale type is not HU. Check that it is a CT, and that air is near -1000 HU."
        words.append(Notice(text, "not HU"))
    return words
