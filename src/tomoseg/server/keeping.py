"""A label map that a client corrected becomes corrections as `tomoseg view` saves them, with its scan as a case beside.

`FOLDER/corrections/IMAGE/0001/STRUCTURE.nii.gz` are the versions. `FOLDER/corrected/IMAGE` is the scan with the last of
them, so that `FOLDER/corrected` is a dataset. What was sent is read in a process of its own (`keeping_apart`), as all
uploads are: a damaged one ends no more than that.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tomoseg.server.apart import done_apart

CORRECTIONS, CORRECTED = "corrections", "corrected"
"""Folders within the server's: the versions, and the dataset of the last of them."""

_UNREADABLE = "expected a label map and a scan that can be read, got others; save the segmentation again"

_saving = threading.Lock()


@dataclass(frozen=True)
class Sent:
    """A label map as it was sent.

    Attributes:
        label: Its file.
        scan: The scan's: a file or a folder of an upload.
        case: What the scan is called here.
        values: What each value is the name of.
        who: Whose work it is.
        folder: The server's.
    """

    label: str
    scan: str
    case: str
    values: Mapping[int, str]
    who: str
    folder: str


def keep(sent: Sent, memory_bytes: int | None = None) -> list[str]:
    """Keep a label map as corrections, read in a process of its own; returns the names of its structures.

    Args:
        sent: What was sent.
        memory_bytes: How much memory reading it may take; None for most of the machine's.

    Raises:
        RefusalError: If it cannot be read, lies on other voxels than its scan, or holds values without a name.
    """
    with _saving:  # versions are counted
        told = done_apart("tomoseg.server.keeping_apart", asdict(sent), _UNREADABLE, memory_bytes=memory_bytes)
    return list(told["kept"])
