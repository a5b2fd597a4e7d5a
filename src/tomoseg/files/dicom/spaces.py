"""Frames of reference: whether what lies beside a DICOM scan was made on it."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset

from tomoseg.files.dicom.headers import quietly, read_dataset

_TAGS = ("FrameOfReferenceUID", "ReferencedFrameOfReferenceSequence")


def shares_space(path: Path, header: Dataset) -> bool:
    """Whether a segmentation or structure set is in the frame of reference of a scan; True where one does not say its.

    Args:
        path: The file.
        header: The header of the scan, as `SourceSlices` keeps it.

    Raises:
        InputError: If the file cannot be read.
    """
    with quietly(str(path)), path.open("rb") as stream:
        dataset = read_dataset(stream, path.stat().st_size, pixels=False, tags=_TAGS)
        spaces = {str(dataset.get("FrameOfReferenceUID") or "")}
        spaces |= {str(one.get("FrameOfReferenceUID") or "") for one in _referenced(dataset)}
        of_scan = str(header.get("FrameOfReferenceUID") or "")
    return not of_scan or of_scan in spaces or not spaces - {""}


def _referenced(dataset: Dataset) -> list[Dataset]:
    return list(dataset.get("ReferencedFrameOfReferenceSequence") or [])
