"""Frames of reference, which show whether a file beside a DICOM scan was made on it."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset

from tomoseg.files.dicom.headers import quietly, read_dataset

_TAGS = ("FrameOfReferenceUID", "ReferencedFrameOfReferenceSequence")


def shares_space(path: Path, header: Dataset) -> bool:
    """Whether a segmentation or structure set has a scan's frame of reference; True if one of the two states none.

    Args:
        path: The file.
        header: The header of the scan, from `SourceSlices`.

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
