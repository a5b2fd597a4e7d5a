"""`tomoseg inspect`: a scan's properties and oddities, before any processing."""

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
"""Version of the JSON format; increased when a field changes its meaning or is removed, not when one is added."""


@dataclass(frozen=True)
class Inspected:
    """The result of inspecting a scan.

    Attributes:
        path: The scan, as given.
        error: Reason why it cannot be read, or None.
        shape: Number of voxels along x, y and z.
        spacing_mm: Voxel spacing in mm along x, y and z.
        series: Descriptions of all series at the path; empty if it is not DICOM.
        series_number: Number of the inspected series, from 1.
        inspection: Properties of the scan; None if it cannot be read.
        notices: The notices of reading and inspecting it.
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
        """The notices except notes."""
        return tuple(notice for notice in self.notices if notice.level == "warning")


def inspect(
    path: Path, series: int | None = None, assume_spacing: tuple[float, float, float] | None = None
) -> Inspected:
    """Read and inspect a scan; a read error becomes part of the result.

    Args:
        path: A scan of any supported kind.
        series: Number of the DICOM series, from 1; the largest axial one if None.
        assume_spacing: Voxel spacing in mm, used if the file has no geometry.
    """
    try:
        volume = read_scan(path, series, assume_spacing)
    except TomosegError as error:
        return Inspected(path, str(error))
    return _of_volume(path, volume)


@dataclass(frozen=True)
class InspectedFolder:
    """The result of inspecting a folder of scans.

    Attributes:
        found: The scans found, and files left out.
        scans: Results by name of the scan.
    """

    found: FoundScans
    scans: dict[str, Inspected]


def inspect_folder(
    folder: Path,
    assume_spacing: tuple[float, float, float] | None = None,
    on_scan: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> InspectedFolder | None:
    """Inspect every scan of a folder or archive, one in memory at a time; return None if it holds a single scan only.

    Args:
        folder: A folder with scans at any depth; or a scan.
        assume_spacing: Voxel spacing in mm, used if a file has no geometry.
        on_scan: Called after each scan with its name, the number of scans done and the total number of scans.

    Raises:
        InputError: If the folder cannot be read.
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
    """Return the JSON content for a folder: each scan as from `as_json`, with its name, and the files left out."""
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
    """Return the JSON content for a scan; docs/reference/commands.md describes each field."""
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
    """Return the JSON content for a scan, or for a folder of scans."""
    return as_json(found) if isinstance(found, Inspected) else folder_as_json(found)


def write_json(found: Inspected | InspectedFolder, path: Path) -> None:
    """Write the result as JSON, whole or not at all.

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
