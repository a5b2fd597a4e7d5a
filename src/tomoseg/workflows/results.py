"""Output files of a result and their paths: masks in any format, probabilities, statistics, a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

from tomoseg.errors import ConfigError, InputError, OutputError, TomosegError, unknown_name_message
from tomoseg.evaluation.measure import Measurement
from tomoseg.files.atomic import remove_file, whole_file
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.nifti import write_nifti
from tomoseg.files.results import nifti_stem, write_confidence
from tomoseg.files.target import Origin, Target
from tomoseg.formats import FORMATS, LABEL_MAP_SUFFIXES, OutputFormat
from tomoseg.notices import Notice, by_weight
from tomoseg.packages import require_installed
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.settings import Language
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows.scans import Scan

Result = LabelMap | Segmentation


@dataclass
class Written:
    """The files of a result.

    Attributes:
        files: Paths relative to the folder of the record.
        notices: Notices about compromises in the output.
        failed: Formats that could not be written, with the reason.
    """

    files: list[str] = field(default_factory=list)
    notices: tuple[Notice, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)


def check_formats(formats: Sequence[str], *, page_3d: bool = False) -> None:
    """Refuse formats that cannot be written, before any computation.

    Args:
        formats: Names of `FORMATS`.
        page_3d: Whether a 3D page is requested too.

    Raises:
        ConfigError: If there is no format, one is unknown, or a package for it is missing.
    """
    if not formats:
        raise ConfigError("expected at least one format, got none; name one after --format, or leave it off")
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"format: {unknown_name_message(name, tuple(FORMATS))}")
        require_installed(*FORMATS[name].packages)
    if page_3d:
        require_installed("skimage")


def impossible_formats(grid: SourceGrid, formats: Sequence[str], path: Path) -> dict[str, str]:
    """Return the formats that a scan cannot have, with the reason.

    Args:
        grid: Grid of the scan.
        formats: The requested formats.
        path: The scan, for messages.

    Raises:
        InputError: If it can have none of the requested formats.
    """
    found = {}
    for name in formats:
        if FORMATS[name].needs_slices and grid.slices is None:
            found[name] = (
                f"{path}: expected DICOM for --format {name}, which belongs to its slices, got another file; "
                "pass the DICOM series, or write dicom-seg"
            )
        elif FORMATS[name].refers_to_slices and grid.slices is not None and grid.slices.not_to_be_told:
            found[name] = grid.slices.refusal(f"{path}")
    if len(found) == len(set(formats)):
        raise InputError(unwritten_message(found))
    return found


def unwritten_message(not_written: Mapping[str, str]) -> str:
    """Return one message about all formats that were not written."""
    return "; ".join(dict.fromkeys(not_written.values()))


def result_path(scan: Scan, name: str, joint: Literal[".", "_"] = ".") -> Path:
    """Return the path of a file in the folder of masks, or next to the label map and named after it.

    Args:
        scan: The scan, with the place of its result.
        name: Name of the file in a folder of masks.
        joint: Separator between the label map's name and this name.
    """
    stem = stem_of(scan)
    return scan.output / name if stem is None else scan.output.with_name(f"{stem}{joint}{name}")


def stem_of(scan: Scan) -> str | None:
    """Return the label map's name without its suffix; None if the output is a folder of masks."""
    return nifti_stem(scan.output) if scan.output.name.endswith(LABEL_MAP_SUFFIXES) else None


def write_result(
    result: Result, confidence: Confidence | None, scan: Scan, formats: Sequence[str], made_by: MadeBy
) -> Written:
    """Write masks or a label map in each of the formats, and probabilities; a format that fails stops no other.

    Args:
        result: Masks or a label map.
        confidence: Probabilities to write, if any.
        scan: The scan, with the place of its result.
        formats: At least one name of `formats.FORMATS`.
        made_by: Provenance of the masks.

    Raises:
        TomosegError: If no format could be written, or probabilities could not.
    """
    origin = Origin(result.grid, str(scan.path))
    folder = scan.output if stem_of(scan) is None else scan.output.parent
    targets = {n: Target(FORMATS[n].path(scan.output, stem_of(scan)), origin, made_by) for n in FORMATS if n in formats}
    paths, failed = _write_each(result, targets)
    files = [path.relative_to(folder).as_posix() for path in paths]
    if confidence is not None:
        files += _write_probabilities(result, confidence, scan)
    return Written(files, origin.notices, failed)


def _write_each(result: Result, targets: Mapping[str, Target]) -> tuple[list[Path], dict[str, str]]:
    """Write each format; return the files, and the formats that failed with the reason. Raise if all failed.

    Unexpected errors are raised too, once the other formats are written.
    """
    files: list[Path] = []
    failed: dict[str, TomosegError] = {}
    unforeseen: list[Exception] = []
    for name, target in targets.items():
        try:
            files += _paths(name, result, target)
        except TomosegError as error:
            failed[name] = error
            if FORMATS[name].layout == "one file":
                with suppress(OutputError):  # else a former result's file would pass for this one's
                    remove_file(target.path)
        except Exception as error:
            unforeseen.append(error)
    for first in (*unforeseen, *(() if files else failed.values())):
        raise first
    return files, {name: str(error) for name, error in failed.items()}


def _paths(name: str, result: Result, target: Target) -> Sequence[Path]:
    paths = _writer(FORMATS[name])(result, target)
    if not paths:
        raise OutputError(f"{target.path}: expected files of format {name}, got none; report this as a fault")
    return paths


def _writer(kind: OutputFormat) -> Callable[[Result, Target], Sequence[Path]]:
    module, _, function = kind.writer.partition(":")
    writer: Callable[[Result, Target], Sequence[Path]] = getattr(import_module(module), function)
    return writer


def _write_probabilities(result: Result, confidence: Confidence, scan: Scan) -> list[str]:
    if isinstance(result, LabelMap):
        path = result_path(scan, "confidence.nii.gz")
        write_nifti(path, confidence.map("confidence"), confidence.grid)
        return [path.name]
    return [f"confidence/{name}" for name in write_confidence(confidence, scan.output / "confidence")]


def statistics_path(scan: Scan) -> Path:
    """Return the path of the statistics of a result."""
    return result_path(scan, "statistics.json")


def write_statistics(measured: Sequence[Measurement], scan: Scan) -> str:
    """Write the measurements of each structure as JSON; missing values are null, with the reason.

    Args:
        measured: The measurements of the structures, in channel order.
        scan: The scan, with the place of its result.

    Returns:
        The file's name.

    Raises:
        OutputError: If it cannot be written.
    """
    path = statistics_path(scan)
    entries = {one.structure: _entry(one) for one in measured}
    with whole_file(path) as aside:
        aside.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return path.name


def _entry(measured: Measurement) -> dict[str, object]:
    return {key: value for key, value in asdict(measured).items() if key != "structure"}


def page_3d_path(scan: Scan) -> Path:
    """Return the path of the 3D page."""
    return result_path(scan, "page_3d.html", "_")


def write_result_page(result: Result, scan: Scan, lang: Language) -> str:
    """Write the 3D page of a result.

    Returns:
        The file's name.

    Raises:
        OutputError: If it cannot be written.
    """
    from tomoseg.pictures.page_3d import write_page_3d

    path = page_3d_path(scan)
    write_page_3d(result, path, scan.name, lang=lang)
    return path.name


def preview_path(scan: Scan) -> Path:
    """Return the path of the picture."""
    return result_path(scan, "preview.png", "_")


def write_preview(result: Result, volume: Volume, scan: Scan, lang: Language, notices: Sequence[Notice] = ()) -> str:
    """Draw an overview picture of the result, in `en` or `fr`, with the warnings about the scan.

    Returns:
        The file's name.

    Raises:
        OutputError: If it cannot be written.
    """
    from tomoseg.pictures.preview import draw_preview  # imports Matplotlib

    path = preview_path(scan)
    told = [notice.without(scan.path) for notice in by_weight(notices) if notice.level == "warning"]
    draw_preview(volume, result, path, scan.name, lang=lang, warnings=told)
    return path.name
