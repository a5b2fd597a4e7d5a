"""Joining of the slices of a scan that each have a series of their own, as some de-identification tools write them.

They are joined if study, frame of reference and series number are the same and the slices are evenly spaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tomoseg.files.dicom.apart import count_places, is_even
from tomoseg.files.dicom.headers import ImageHeader

SHARE = 0.5
"""Ratio of the number of series to that of images from which these are joined."""

_MARK = "joined "


def joined(images: Sequence[ImageHeader]) -> list[ImageHeader]:
    """Return all images, with a common series for slices that are joined."""
    groups: dict[tuple[object, ...], list[ImageHeader]] = {}
    for image in images:
        turned = None if image.orientation is None else tuple(np.round(image.orientation, 2).ravel().tolist())
        key = (image.patient, image.study, image.space, image.series_number, image.frame is None, image.shape, turned)
        groups.setdefault(key, []).append(image)
    return [image for group in groups.values() for image in (_as_one(group) if _is_a_scan(group) else group)]


def is_joined(images: Sequence[ImageHeader]) -> bool:
    """Whether a stack was joined from series of one slice each."""
    return images[0].series.startswith(_MARK)


def _as_one(group: Sequence[ImageHeader]) -> list[ImageHeader]:
    return [replace(image, series=_MARK + group[0].series) for image in group]


def _is_a_scan(group: Sequence[ImageHeader]) -> bool:
    series = len({image.series for image in group})
    if series < 2 or series < SHARE * len(group):
        return False
    orientation = group[0].orientation
    positions = [image.position_mm for image in group if image.position_mm is not None]
    if orientation is None or len(positions) < len(group):
        return False
    places = np.sort(np.stack(positions) @ np.cross(orientation[0], orientation[1]))
    return count_places(places) == len(places) and is_even(places)
