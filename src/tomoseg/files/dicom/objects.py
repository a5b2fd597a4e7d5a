"""DICOM objects that hold structures, recognised by a file's first bytes, so that slices are skipped quickly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from tomoseg.files.label_names import structure_name
from tomoseg.files.source import starts_dicom

LabelObject = Literal["segmentation", "structure set"]
"""Kinds of objects that hold named structures."""

_OBJECTS: dict[bytes, LabelObject] = {
    b"1.2.840.10008.5.1.4.1.1.66.4": "segmentation",
    b"1.2.840.10008.5.1.4.1.1.66.7": "segmentation",  # label map
    b"1.2.840.10008.5.1.4.1.1.481.3": "structure set",
}
_BYTES = 4096
_NOT_IN_FILES = set('/\\:*?"<>|')
_CLASS = re.compile(rb"(?:\x02\x00\x02\x00|\x08\x00\x16\x00)(?:UI..|..\x00\x00)([\d.]+)", re.DOTALL)
"""The SOP Class UID in the file meta information, or without one in the dataset."""


def label_object(path: Path) -> LabelObject | None:
    """Return the kind of object with structures; None for any other file, and one that cannot be read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_BYTES)
    except OSError:
        return None
    found = _CLASS.search(start) if starts_dicom(start) else None
    return None if found is None else _OBJECTS.get(found[1])


def usable_name(text: str, name: str) -> str:
    """Turn a name in a DICOM file into a structure's name, which must be valid as a file name.

    Characters that planning systems allow but file names do not are replaced by `_`.

    Args:
        text: The name in the DICOM file.
        name: Name of the file in messages.

    Raises:
        LabelError: If it is empty or too long.

    Example:
        >>> usable_name("PTV 60/2 Gy", "plan.dcm")
        'PTV 60_2 Gy'
    """
    text = "".join("_" if letter in _NOT_IN_FILES or not letter.isprintable() else letter for letter in text.strip())
    return structure_name("_" + text[1:] if text.startswith(".") else text, name)
