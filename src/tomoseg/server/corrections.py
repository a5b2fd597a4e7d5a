"""Corrected masks of a job: versions, and the result with the latest of each structure.

They are in the job's folder, and removed with it: `corrections/0001/STRUCTURE.nii.gz` are the versions, as those of
`tomoseg view`; `corrections/result-0001` is the whole result as of a version, made on request. Scan and mask are read
in a separate process (`correcting`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tomoseg.datasets.corrections import versions
from tomoseg.files.no_scan import CORRECTION
from tomoseg.server.apart import done_apart
from tomoseg.server.records import Correction

FOLDER = "corrections"
"""Folder of the versions, in the job's folder."""

_MODULE = "tomoseg.server.correcting"
_UNREADABLE = "expected a scan and masks that can still be read, got others; check whether the job still exists"


@dataclass(frozen=True)
class Corrected:
    """A job whose masks are corrected.

    Attributes:
        job: Its folder.
        scan: A file or a folder of an upload.
        result: The folder of its masks.
        options: The job's options.
    """

    job: str
    scan: str
    result: str
    options: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Folder of the versions."""
        return Path(self.job) / FOLDER

    @property
    def bytes(self) -> int:
        """Size of the result, the versions, and the corrected results."""
        places = (Path(self.result), self.folder)
        return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())


def save(corrected: Corrected, structure: str, who: str, sent: IO[bytes]) -> int:
    """Save a corrected mask as the next version, and return its number.

    Args:
        corrected: The job.
        structure: Name of the structure.
        who: Name of the person who corrected it.
        sent: The mask, as `scene_answers.unpacked_mask` takes it.

    Raises:
        RefusalError: If the job has no such structure, or the mask is invalid or of another grid.
    """
    told = {"do": "save", "structure": structure, "who": who}
    return int(done_apart(_MODULE, asdict(corrected) | told, _UNREADABLE, sent)["version"])


def corrected_result(corrected: Corrected) -> Path:
    """Return the folder of the result with the latest correction of each structure, made if missing.

    Args:
        corrected: A job that has corrections.

    Raises:
        RefusalError: If it cannot be made.
    """
    folder = result_folder(corrected.folder)
    if not folder.is_dir():
        for former in sorted(corrected.folder.glob("result-*"))[:-1]:  # the last one may be being downloaded
            shutil.rmtree(former, ignore_errors=True)
        done_apart(_MODULE, asdict(corrected) | {"do": "write"}, _UNREADABLE)
    return folder


def result_folder(folder: Path) -> Path:
    """Return the folder of the result with the latest corrections.

    Args:
        folder: The folder of the versions, with at least one.
    """
    return folder / f"result-{versions(folder)[-1].name}"


def listed(folder: Path) -> list[Correction]:
    """List the versions, in order.

    Args:
        folder: The folder of the versions.
    """
    records = (json.loads((path / CORRECTION).read_text(encoding="utf-8")) for path in versions(folder))
    return [Correction(**{name: one[name] for name in Correction.model_fields}) for one in records]
