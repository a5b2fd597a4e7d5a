"""`tomoseg inspect`: what a scan is and what is odd about it, before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tomoseg.checks.scan import Inspection, inspect_scan
from tomoseg.errors import TomosegError
from tomoseg.files.atomic import write_whole_text
from tomoseg.files.scan import read_scan
from tomoseg.notices import Notice
from tomoseg.version import __version__
from tomoseg.volume import Volume
from tomoseg.workflows.scans import FoundScans, scans_below

FORMAT = 2
"""Raised when a field of the JSON changes its meaning or goes; new ones may come."""


@dataclass(frozen=True)
class Inspected:
    """What was found.

    Attributes:
        path: The scan, as given.
        error: Why it cannot be read, or None.
        shape: Voxels along x, y and z.
        spacing_mm: Their edges.
        series: All series of the place, in words; none where it is no DICOM.
        series_number: Which of them was looked at, from 1.
        inspection: What the scan is; None if it cannot be read.
        notices: The notices of reading it and of looking at it.
    """

    path: Path
    error: str | None
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    series: tuple[str, ...] = ()
    series_number: int | None = None
    inspection: Inspection | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """Without notes."""
        return tuple(notice for notice in self.notices if notice.level == "warning")


def inspect(
    path: Path, series: int | None = None, assume_spacing: tuple[float, float, float] | None = None
) -> Inspected:
    """Read a scan and look at it; one that cannot be read is a result too.

    Args:
        path: A scan of any kind that is read.
        series: Which of several DICOM series, from 1; the largest axial one if None.
        assume_spacing: Voxel edges in mm, taken where the file does not say where its voxels lie.
    """
    try:
        volume = read_scan(path, series, assume_spacing)
    except TomosegError as error:
        return Inspected(path, str(error))
    return _of_volume(path, volume)


@dataclass(frozen=True)
class InspectedFolder:
    """What lies in a folder of scans.

    Attributes:
        found: Its scans, and what is left out.
        scans: What each is, by name.
    """

    found: FoundScans
    scans: dict[str, Inspected]


def inspect_folder(
    folder: Path,
    assume_spacing: tuple[float, float, float] | None = None,
    on_scan: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> InspectedFolder | None:
    """Look at every scan of a folder or archive, one in memory at a time; None where it holds one, and nothing else.

    Args:
        folder: With scans in whatever folders; or a scan.
        assume_spacing: Voxel edges in mm, taken where a file does not say where its voxels lie.
        on_scan: Called after each scan with its name, the number of scans done and the total number of scans.

    Raises:
        InputError: If it cannot be looked into.
    """
    found = scans_below(folder)
    if found is None:
        return None
    looked_at: dict[str, Inspected] = {}
    for scan in found.scans:
        try:
            looked_at[scan.name] = _of_volume(scan.path, read_scan(scan.source(), None, assume_spacing))
        except TomosegError as error:
            looked_at[scan.name] = Inspected(scan.path, str(error))
        on_scan(scan.name, len(looked_at), len(found.scans))
    return InspectedFolder(found, looked_at)


def folder_as_json(looked_at: InspectedFolder) -> dict[str, Any]:
    """What is written of a folder: each scan as it is written alone, with its name, and what is left out."""
    return {
        "format": FORMAT,
        "tomoseg": __version__,
        "folder": str(looked_at.found.place),
        "scans": [{"name": name} | as_json(one) for name, one in looked_at.scans.items()],
        "left_out": looked_at.found.reasons(),
        "no_scans": dict(looked_at.found.others),
    }


def _of_volume(path: Path, volume: Volume) -> Inspected:
    inspection = inspect_scan(volume)
    slices = volume.source.slices
    return Inspected(
        path,
        None,
        volume.shape,
        volume.spacing_mm,
        () if slices is None else slices.series,
        None if slices is None else slices.number,
        inspection,
        (*volume.warnings, *inspection.notices),
    )


def as_json(found: Inspected) -> dict[str, Any]:
    """What is written; docs/reference/commands.md says what each field is."""
    seen = found.inspection
    return {
        "format": FORMAT,
        "tomoseg": __version__,
        "scan": str(found.path),
        "error": found.error,
        "series": list(found.series),
        "series_number": found.series_number,
        "shape": found.shape,
        "spacing_mm": _rounded(found.spacing_mm, 6),
        "extent_mm": None if seen is None else _rounded(seen.extent_mm, 3),
        "axes": None if seen is None else seen.axes,
        "oblique_degrees": None if seen is None else seen.oblique_degrees,
        "values": None if seen is None else _values(seen),
        "slices": None if seen is None else asdict(seen.planes),
        "body": None if seen is None else _body(seen),
        "contrast": None if seen is None or seen.contrast is None else asdict(seen.contrast),
        "notices": [notice.as_dict() for notice in found.notices],
    }


def json_of(found: Inspected | InspectedFolder) -> dict[str, Any]:
    """What is written of a scan, or of a folder of scans."""
    return as_json(found) if isinstance(found, Inspected) else folder_as_json(found)


def write_json(found: Inspected | InspectedFolder, path: Path) -> None:
    """Write it whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    write_whole_text(path, json.dumps(json_of(found), indent=1, ensure_ascii=False) + "\n")


def _values(seen: Inspection) -> dict[str, Any]:
    facts = asdict(seen.values)
    del facts["peaks"]  # how air and tissue were found; two of them say it all
    return facts


def _body(seen: Inspection) -> dict[str, Any] | None:
    if seen.body_mm is None:
        return None
    return {
        "size_mm": seen.body_mm,
        "border_share": seen.border_share,
        "parts": [asdict(part) for part in seen.parts],
    }


def _rounded(numbers: Sequence[float] | None, digits: int) -> list[float] | None:
    return None if numbers is None else [round(number, digits) for number in numbers]
