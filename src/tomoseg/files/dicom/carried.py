"""What results take over from a scan's files, kept while these are read, so that none is opened again for it."""

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
"""What every DICOM file must have, empty where it is not known."""
OTHER_TAGS = (
    "IssuerOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "PatientAge", "PatientSize",
    "PatientWeight", "StudyDescription",
)  # fmt: skip
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_READ = ("SpecificCharacterSet", "PositionReferenceIndicator", *NEEDED_TAGS, *OTHER_TAGS, *UIDS)


def is_sound(uid: object) -> bool:
    """Whether it can be a DICOM identifier."""
    return bool(re.fullmatch(r"[0-9]+(\.[0-9]+)+", str(uid or ""))) and len(str(uid)) <= 64


class Carried:
    """Patient and study of a scan's first slice, and digests of the files that need them. Never to be shown.

    Args:
        first: The file of the first slice.
    """

    def __init__(self, first: Entry) -> None:
        self._first = first
        self.header = Dataset()
        self._digests: dict[Entry, str] = {}

    def take(self, stream: Any, image: ImageHeader) -> None:
        """Keep what is needed of a file, which is left at its start.

        Args:
            stream: The file, at its start.
            image: One of the file's.
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
        """SHA-256 of a file from which identifiers are made; empty where the file has them all."""
        return self._digests.get(entry, "")


def _whole_values(header: Dataset) -> Dataset:
    """The elements that can be read; one that is damaged is as good as none."""
    kept = Dataset()
    for keyword in _READ:
        try:
            if keyword in header:
                kept.add(header[keyword])
        except Exception:  # a damaged value makes pydicom raise nearly anything
            continue
    return kept
