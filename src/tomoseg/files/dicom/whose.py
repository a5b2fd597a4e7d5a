"""Grouping of images by patient and study, since a scan is of one patient and study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tomoseg.errors import InputError, counted
from tomoseg.files.dicom.headers import ImageHeader


def by_patient_and_study(images: Iterable[ImageHeader]) -> list[list[ImageHeader]]:
    """Group images by patient and study, in the order of their first ones.

    If nearly every image has a study of its own, UIDs were generated for each image, and it is one study.
    """
    images = list(images)
    by_study = _grouped(images, ("patient", "study"))
    by_patient = _grouped(images, ("patient",))
    return by_study if 2 * len(by_study) <= len(images) or len(by_study) == len(by_patient) else by_patient


def _grouped(images: Iterable[ImageHeader], by: Sequence[str]) -> list[list[ImageHeader]]:
    groups: dict[tuple, list[ImageHeader]] = {}
    for image in images:
        groups.setdefault(tuple(getattr(image, name) for name in by), []).append(image)
    return list(groups.values())


def check_one_study(images: Sequence[ImageHeader], listed: str, name: str) -> None:
    """Refuse slices of several patients, or of several studies of one.

    Args:
        images: The slices.
        listed: List of the series to choose from, for the message.
        name: Path of the slices in the message.

    Raises:
        InputError: If there are several.
    """
    groups = by_patient_and_study(images)
    if len(groups) == 1:
        return
    patients = len(Counter(group[0].patient for group in groups))
    whose = counted(patients, "patient") if patients > 1 else f"{len(groups)} studies of a patient"
    raise InputError(
        f"{name}: expected one scan, got those of {whose}; pass the folder of one, or choose with --series "
        f"from {listed}"
    )
