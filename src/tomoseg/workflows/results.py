"""What a result is written as, and where: masks in any of the formats, probabilities, statistics, a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tomoseg.config import Language
from tomoseg.errors import ConfigError, InputError, OutputError, TomosegError
from tomoseg.evaluation.measure import Measurement
from tomoseg.files.atomic import whole_file
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.nifti import write_nifti
from tomoseg.files.results import (
    NIFTI_SUFFIXES,
    label_map_files,
    nifti_stem,
    write_confidence,
    write_label_map,
    write_masks,
)
from tomoseg.options import FormatName
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows.scans import Scan

if TYPE_CHECKING:
    from tomoseg.files.dicom.source import SourceSeries

Result = LabelMap | Segmentation


@dataclass
class Written:
    """What was written.

    Attributes:
        files: Names from where the record lies.
        warnings: What could not be as it should, each a full sentence.
    """

    files: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()


def check_formats(formats: Sequence[FormatName]) -> None:
    """Refuse what cannot be written, before anything is computed.

    Raises:
        ConfigError: If there is no format, or a package for it is missing.
    """
    if not formats:
        raise ConfigError("expected at least one format, got none; name one after --format, or leave it off")
    if {"stl", "ply"} & set(formats):
        from tomoseg.files.meshes import check_meshes_can_be_made

        check_meshes_can_be_made()


def check_scan_has_format(grid: SourceGrid, formats: Sequence[FormatName], path: Path) -> None:
    """Refuse a scan that a format cannot be written for.

    Raises:
        InputError: If contours are to lie on slices that the scan has not.
    """
    if "rtstruct" in formats and grid.slices is None:
        raise InputError(
            f"{path}: expected DICOM for --format rtstruct, whose contours belong to its slices, got another file; "
            "pass the DICOM series, or write dicom-seg"
        )


def beside(scan: Scan, name: str) -> Path:
    """A file among the masks, or beside the label map and named after it."""
    if scan.output.name.endswith(NIFTI_SUFFIXES):
        stem = nifti_stem(scan.output)
        return scan.output.with_name(f"{stem}_{name}" if name.endswith((".png", "stl", "ply")) else f"{stem}.{name}")
    return scan.output / name


def write_result(
    result: Result, confidence: Confidence | None, scan: Scan, formats: Sequence[FormatName], made_by: MadeBy
) -> Written:
    """Write masks or a label map in each of the formats, and probabilities.

    Args:
        result: Masks or a label map.
        confidence: Probabilities, if they are wanted.
        scan: Where results go.
        formats: At least one.
        made_by: What is said of the algorithm.

    Raises:
        InputError: If contours are wanted of a scan without slices, or its files are gone.
        ConfigError: If a package is missing.
        OutputError: If something cannot be written.
    """
    written = Written()
    for name in ("nifti", "nrrd", "stl", "ply"):
        if name in formats:
            written.files += _WRITERS[name](result, scan)
    dicom = [name for name in dict.fromkeys(formats) if name in {"dicom-seg", "dicom-seg-binary", "rtstruct"}]
    if dicom:
        from tomoseg.files.dicom.source import source_series

        source = source_series(result.grid, str(scan.path))
        written.warnings = source.warnings
        written.files += [_write_dicom(name, result, source, scan, made_by) for name in dicom]
    if confidence is not None:
        written.files += _write_probabilities(result, confidence, scan)
    return written


def _write_nifti(result: Result, scan: Scan) -> list[str]:
    if isinstance(result, LabelMap):
        write_label_map(result, scan.output)
        return label_map_files(scan.output)
    write_masks(result, scan.output)
    return [f"{name}.nii.gz" for name in result.labels.names]


def _write_nrrd(result: Result, scan: Scan) -> list[str]:
    from tomoseg.files.itk.seg_nrrd import write_seg_nrrd

    path = _single(scan, "seg.nrrd")
    write_seg_nrrd(result, path)
    return [path.name]


def _write_stl(result: Result, scan: Scan) -> list[str]:
    from tomoseg.files.meshes import write_meshes

    folder = beside(scan, "stl")
    return [f"{folder.name}/{name}" for name in write_meshes(result, folder, "stl")]


def _write_ply(result: Result, scan: Scan) -> list[str]:
    from tomoseg.files.meshes import write_meshes

    folder = beside(scan, "ply")
    return [f"{folder.name}/{name}" for name in write_meshes(result, folder, "ply")]


_WRITERS = {"nifti": _write_nifti, "nrrd": _write_nrrd, "stl": _write_stl, "ply": _write_ply}


def _write_dicom(name: str, result: Result, source: SourceSeries, scan: Scan, made_by: MadeBy) -> str:
    if name == "rtstruct":
        from tomoseg.files.dicom.structures import write_rtstruct

        path = _single(scan, "rtstruct.dcm")
        write_rtstruct(result, source, path, made_by)
        return path.name
    from tomoseg.files.dicom.segmentation import write_seg  # imports highdicom

    is_binary = name == "dicom-seg-binary"
    path = _single(scan, "binary.seg.dcm" if is_binary else "seg.dcm")
    try:
        write_seg(result, source, path, made_by, is_binary)
    except TomosegError:
        raise
    except Exception as error:  # highdicom refuses odd headers in many ways, and may quote them
        raise OutputError(
            f"{path}: expected a scan whose headers a DICOM segmentation can go on from, got {type(error).__name__}; "
            "write --format nifti or nrrd"
        ) from error
    return path.name


def _single(scan: Scan, ending: str) -> Path:
    """The file that holds all structures."""
    path = beside(scan, ending)
    return path if path.parent != scan.output else path.with_name(f"segmentation.{ending}")


def _write_probabilities(result: Result, confidence: Confidence, scan: Scan) -> list[str]:
    if isinstance(result, LabelMap):
        path = beside(scan, "confidence.nii.gz")
        write_nifti(path, confidence.map("confidence"), confidence.grid)
        return [path.name]
    return [f"confidence/{name}" for name in write_confidence(confidence, scan.output / "confidence")]


def write_statistics(measured: Sequence[Measurement], scan: Scan) -> str:
    """Write what was measured of each structure, one entry each; null where something cannot be said, with the reason.

    Args:
        measured: In channel order.
        scan: Where results go.

    Returns:
        The file's name.

    Raises:
        OutputError: If it cannot be written.
    """
    path = beside(scan, "statistics.json")
    entries = {one.structure: _entry(one) for one in measured}
    with whole_file(path) as aside:
        aside.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return path.name


def _entry(measured: Measurement) -> dict[str, object]:
    return {key: value for key, value in asdict(measured).items() if key != "structure"}


def write_preview(result: Result, volume: Volume, scan: Scan, lang: Language) -> str:
    """Draw a picture to judge the result by, in `en` or `fr`.

    Returns:
        The file's name.

    Raises:
        OutputError: If it cannot be written.
    """
    from tomoseg.pictures.preview import draw_preview  # imports Matplotlib

    path = beside(scan, "preview.png")
    draw_preview(volume, result, path, scan.name, lang=lang)
    return path.name
