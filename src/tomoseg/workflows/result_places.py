"""Check that the result of a scan can be written, before the scan is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tomoseg.files.outputs import begin_folder, check_folder
from tomoseg.files.results import label_map_files
from tomoseg.formats import FORMATS
from tomoseg.options import PredictOptions
from tomoseg.workflows.prediction_record import record_path
from tomoseg.workflows.results import page_3d_path, preview_path, result_path, statistics_path, stem_of
from tomoseg.workflows.scans import Scan


def check_places(scan: Scan, options: PredictOptions, structures: Sequence[str] = ()) -> None:
    """Refuse a place where a result could not be written.

    Args:
        scan: The scan, with the place of its result.
        options: The requested options.
        structures: Structures that files are named after; empty if not known yet.

    Raises:
        OutputError: If a folder cannot be created or written to, a folder is in the place of a file or the reverse, or
            a name is too long for the file system.
    """
    own, place = _folders(scan, options, structures), record_path(scan).parent
    if stem_of(scan) is None:
        own.setdefault(place, []).extend(_files(scan, options))
    else:  # it holds the results of others, too: what was left there went when the command began
        check_folder(place, _files(scan, options))
    for folder, names in own.items():
        begin_folder(folder, names)


def _files(scan: Scan, options: PredictOptions) -> list[str]:
    """Return the names of the files next to the record."""
    stem = stem_of(scan)
    layouts = ("one file",) if stem is None else ("one file", "file per structure")
    kinds = [FORMATS[name] for name in options.format]
    paths = [kind.path(scan.output, stem) for kind in kinds if kind.layout in layouts]
    paths += [record_path(scan), statistics_path(scan), preview_path(scan), page_3d_path(scan)]
    if stem is not None:
        paths.append(result_path(scan, "confidence.nii.gz"))  # the longest name of all that may lie there
        paths += [scan.output.with_name(name) for name in label_map_files(scan.output) if "nifti" in options.format]
    return [path.name for path in paths]


def _folders(scan: Scan, options: PredictOptions, structures: Sequence[str]) -> dict[Path, list[str]]:
    """Return the folders with one file per structure, with the names of these files."""
    stem = stem_of(scan)
    found: dict[Path, list[str]] = {}
    for name in options.format:
        kind = FORMATS[name]
        if kind.layout == "folder" or (kind.layout == "file per structure" and stem is None):
            files = found.setdefault(kind.path(scan.output, stem), [])
            files += [f"{structure}.{kind.endings[0]}" for structure in structures]
    if options.confidence and stem is None:
        found[scan.output / "confidence"] = [f"{structure}.nii.gz" for structure in structures]
    return found
