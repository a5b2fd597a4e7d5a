"""Storing a client's corrected label map as corrections in the format of `tomoseg view`, and as a dataset's case.

`FOLDER/corrections/IMAGE/0001/STRUCTURE.nii.gz` are the versions. `FOLDER/corrected/IMAGE` is the scan with the latest
of them, so that `FOLDER/corrected` is a dataset. Uploaded files are read in a separate process (`keeping_apart`), so
that a damaged one ends only that process.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tomoseg.server.apart import done_apart

CORRECTIONS, CORRECTED = "corrections", "corrected"
"""Folders in the server's: the versions, and the dataset of the latest of them."""

_UNREADABLE = "expected a readable label map and scan, got others; save the segmentation again"

_saving = threading.Lock()


@dataclass(frozen=True)
class Sent:
    """An uploaded label map.

    Attributes:
        label: Path of its file.
        scan: Path of the scan, a file or a folder of an upload.
        case: Name of the scan as a case.
        values: Name of the structure of each value.
        who: Name of the person who corrected it.
        folder: The server's folder.
    """

    label: str
    scan: str
    case: str
    values: Mapping[int, str]
    who: str
    folder: str


def keep(sent: Sent, memory_bytes: int | None = None) -> list[str]:
    """Store a label map as corrections, and return the names of its structures.

    Args:
        sent: The label map.
        memory_bytes: Memory limit of reading it; None for most of the machine's memory.

    Raises:
        RefusalError: If it cannot be read, lies on another grid than its scan, or contains values without a name.
    """
    with _saving:  # serialises the numbering of versions
        told = done_apart("tomoseg.server.keeping_apart", asdict(sent), _UNREADABLE, memory_bytes=memory_bytes)
    return list(told["kept"])
