"""`tomoseg inspect`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, NOT_STARTED, SOME_FAILED
from tomoseg.language.words import say
from tomoseg.terminal.rows import SCANS_OF, progress


def inspect(
    scan: Positional[Path],
    *,
    json: bool = False,
    output: MaybeOutput = None,
    strict: bool = False,
    series: int | None = None,
    assume_spacing: tuple[float, float, float] | None = None,
) -> int:
    """Inspect a scan: its values, its geometry, the body, and anything unusual.

    Args:
        scan: A NIfTI, NRRD or MetaImage file; DICOM as a folder, ZIP archive or file; or a folder that contains
            scans at any depth, which prints a table.
        json: Print the findings as JSON instead of a table.
        output: JSON file to write the findings to.
        strict: Exit with status 1 if there is a warning; notes do not count.
        series: Which of several DICOM series to inspect, numbered from 1 as they are listed; if omitted, the
            largest axial one.
        assume_spacing: Voxel spacing X Y Z in mm along the file's axes, for scans whose files state no
            geometry.
    """
    from tomoseg.files.outputs import check_file
    from tomoseg.terminal.inspection import show_inspection, show_json
    from tomoseg.workflows.inspect import inspect as run
    from tomoseg.workflows.inspect import write_json

    if output is not None:
        check_file(output)
    if series is None:
        status = _inspect_folder(scan, json, output, strict, assume_spacing)
        if status is not None:
            return status
    with progress(say("inspect")):
        found = run(scan, series, assume_spacing)
    if output is not None:
        write_json(found, output)
    (show_json if json else show_inspection)(found)
    if found.error is not None:
        return NOT_STARTED
    return SOME_FAILED if strict and found.warnings else DONE


def _inspect_folder(
    place: Path, json: bool, output: Path | None, strict: bool, assume_spacing: tuple[float, float, float] | None
) -> int | None:
    """Inspect a folder or an archive of scans and return the exit status; None if it is one scan."""
    from tomoseg.terminal.inspection import show_folder, show_json
    from tomoseg.workflows.inspect import inspect_folder, write_json

    with progress(say("inspect"), count=SCANS_OF) as show:
        several = inspect_folder(place, assume_spacing, lambda name, done, total: show(done, total, name))
    if several is None:
        return None
    if output is not None:
        write_json(several, output)
    (show_json if json else show_folder)(several)
    odd = any(one.error is not None or (strict and one.warnings) for one in several.scans.values())
    return SOME_FAILED if odd or several.found.left_out else DONE
