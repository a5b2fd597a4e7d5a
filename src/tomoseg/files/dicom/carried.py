"""Header values that results copy from a scan's files, kept while these are read, so that none is opened again."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pydicom.dataset import Dataset

from tomoseg.files.dicom.entries import Entry
from tomoseg.files.dicom.headers import ImageHeader, read_dataset

NEEDED_TAGS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
"""Attributes that every DICOM file must have, empty if unknown."""
OTHER_TAGS = (
    "IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "PatientAge", "PatientSize",
    "PatientWeight", "StudyDescription",
)  # fmt: skip
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_READ = ("SpecificCharacterSet", "PositionReferenceIndicator", *NEEDED_TAGS, *OTHER_TAGS, *UIDS)


def is_sound(uid: object) -> bool:
    """Whether a value is a valid DICOM UID."""
    return bool(re.fullmatch(r"[0-9]+(\.[0-9]+)+", str(uid or ""))) and len(str(uid)) <= 64


class Carried:
    """Patient and study of a scan's first slice, and digests of files without valid UIDs. Never to be shown.

    Args:
        first: The file of the first slice.
    """

    def __init__(self, first: Entry) -> None:
        self._first = first
        self.header = Dataset()
        self._digests: dict[Entry, str] = {}

    def take(self, stream: Any, image: ImageHeader) -> None:
        """Keep the values needed from a file, and leave the stream at its start.

        Args:
            stream: The file, at its start.
            image: An image of the file.
        """
        sound = is_sound(image.sop_instance_uid)
        if image.entry == self._first:
            self.header = _whole_values(read_dataset(stream, image.entry.size, pixels=False, tags=_READ))
            sound = sound and all(is_sound(self.header.get(keyword)) for keyword in UIDS)
            stream.seek(0)
        if not sound:
            self._digests[image.entry] = hashlib.sha256(stream.read()).hexdigest()
            stream.seek(0)

    def digest(self, entry: Entry) -> str:
        """Return the SHA-256 of a file from which UIDs are generated; empty if it has valid ones."""
        return self._digests.get(entry, "")


def _whole_values(header: Dataset) -> Dataset:
    """Return the elements that can be read, without damaged ones."""
    kept = Dataset()
    for keyword in _READ:
        try:
            if keyword in header:
                kept.add(header[keyword])
        except Exception:  # a damaged value makes pydicom raise nearly anything
            continue
    return kept
