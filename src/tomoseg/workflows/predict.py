"""`tomoseg predict`: masks of one scan or of a folder of scans, the model loaded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from tomoseg.checks.scan import check_scan
from tomoseg.errors import InputError, OutputError, TomosegError
from tomoseg.files.nifti import read_ct
from tomoseg.files.results import NIFTI_SUFFIXES, nifti_stem, write_label_map, write_masks
from tomoseg.inference.predictor import BATCH_SIZE, Predictor
from tomoseg.models.folder import load_model
from tomoseg.pictures.preview import draw_preview, flatten
from tomoseg.segmentation import LabelMap

SCAN_NAMES = ("ct.nii.gz", "ct.nii")
"""What a scan is called in a folder a case."""


@dataclass(frozen=True)
class PredictOptions:
    """What is predicted, and how.

    Attributes:
        label_map: One label map instead of a mask file a structure.
        structures: Only these; none named predicts all.
        preview: Also draw a preview sheet.
        device: Where the network runs.
        precision: What it computes in.
        batch_size: Slices in one forward pass.

    Raises:
        InputError: If the batch size is below 1.
    """

    label_map: bool = False
    structures: tuple[str, ...] = ()
    preview: bool = False
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"expected batches of 1 slice or more, got {self.batch_size}; raise the batch size")


@dataclass(frozen=True)
class Scan:
    """A scan to be segmented and where its result goes: a file for a label map, else a folder."""

    name: str
    path: Path
    output: Path


@dataclass(frozen=True)
class ScanDone:
    """Told after each scan.

    Attributes:
        scan: Which.
        error: Why it failed, or None.
        warnings: What was noticed.
    """

    scan: Scan
    error: str | None
    warnings: tuple[str, ...]


def predict(
    scans: Path,
    output: Path,
    model: Path,
    options: PredictOptions | None = None,
    on_slice: Callable[[Scan, int, int], None] = lambda scan, done, total: None,
    on_scan: Callable[[ScanDone], None] = lambda done: None,
) -> list[ScanDone]:
    """Segment a scan, or every scan of a folder; one that fails stops no other.

    Args:
        scans: A NIfTI file, a folder of them, or a folder with one folder a case that holds `ct.nii.gz`.
        output: For one scan the folder of its masks, or with `label_map` its file (a folder is taken for
            `FOLDER/<scan>.nii.gz`); for many a folder with one such result each.
        model: A model folder or a run folder.
        options: What is predicted, and how.
        on_slice: Told the scan, its slices done and in all.
        on_scan: Told after each scan.

    Returns:
        One entry a scan.

    Raises:
        InputError: If there is no scan.
        OutputError: If the output cannot be a folder, or a result would take the place of a scan.
        ModelError: If the model cannot be loaded.
        LabelError: If the model does not know a structure.
    """
    options = options or PredictOptions()
    found = find_scans(scans, output, options.label_map)
    predictor = Predictor(
        load_model(model),
        structures=options.structures,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
    )
    results = []
    for scan in found:
        results.append(_attempt(predictor, scan, options, on_slice))
        on_scan(results[-1])
    return results


def find_scans(scans: Path, output: Path, label_map: bool) -> list[Scan]:
    """The scans under a path and where their results go.

    Raises:
        InputError: If there is none, or two would write to one place.
        OutputError: If the output is a file where a folder is needed, or a result would take the place of a scan.
    """
    if not scans.exists():
        raise InputError(f"{scans}: expected a scan or a folder of scans, found nothing there; check the path")
    found = [_only_scan(scans, output, label_map)] if scans.is_file() else _scans_in(scans, output, label_map)
    inputs = {scan.path.resolve() for scan in found}
    for scan in found:
        if scan.output.resolve() in inputs:
            raise OutputError(f"{scan.output}: expected another place than the scan's own; choose another output")
    return found


def _only_scan(path: Path, output: Path, label_map: bool) -> Scan:
    name = path.resolve().parent.name if path.name in SCAN_NAMES else nifti_stem(path)
    names_file = output.name.endswith(NIFTI_SUFFIXES)
    if label_map and not names_file:
        output = output / f"{nifti_stem(path)}.nii.gz"
    elif not label_map and (names_file or output.is_file()):
        raise OutputError(
            f"{output}: expected a folder for one mask a structure, got a file; add --ml or name a folder"
        )
    return Scan(name, path, output)


def _scans_in(folder: Path, output: Path, label_map: bool) -> list[Scan]:
    named: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        inner = next((path / name for name in SCAN_NAMES if (path / name).is_file()), None)
        if path.is_file() and path.name.endswith(NIFTI_SUFFIXES):
            _add(named, nifti_stem(path), path)
        elif inner is not None:
            _add(named, path.name, inner)
    if not named:
        raise InputError(
            f"{folder}: expected NIfTI files, or folders with a {SCAN_NAMES[0]} each, found none; check the path"
        )
    if output.is_file() or output.name.endswith(NIFTI_SUFFIXES):
        raise OutputError(
            f"{output}: expected a folder for the results of {len(named)} scans, got a file; name a folder"
        )
    return [
        Scan(name, path, output / (f"{name}.nii.gz" if label_map else name)) for name, path in sorted(named.items())
    ]


def _add(named: dict[str, Path], name: str, path: Path) -> None:
    if name in named:
        raise InputError(f"expected scans of different names, got {named[name]} and {path}; rename one")
    named[name] = path


def _attempt(
    predictor: Predictor, scan: Scan, options: PredictOptions, on_slice: Callable[[Scan, int, int], None]
) -> ScanDone:
    warnings: tuple[str, ...] = ()
    try:
        volume = read_ct(scan.path)
        warnings = (*volume.warnings, *check_scan(volume))
        shown: LabelMap | None
        if options.label_map:
            shown = predictor.predict_label_map(volume, lambda done, total: on_slice(scan, done, total))
            write_label_map(shown, scan.output)
        else:
            segmentation = predictor.predict_volume(volume, lambda done, total: on_slice(scan, done, total))
            write_masks(segmentation, scan.output)
            shown = flatten(segmentation) if options.preview else None
        if options.preview and shown is not None:
            draw_preview(volume, shown.labels, shown.values, _preview_path(scan, options), scan.name)
    except (TomosegError, MemoryError, torch.OutOfMemoryError) as error:
        return ScanDone(scan, str(error) or "out of memory; use a smaller batch or fewer structures", warnings)
    return ScanDone(scan, None, warnings)


def _preview_path(scan: Scan, options: PredictOptions) -> Path:
    if options.label_map:
        return scan.output.with_name(f"{nifti_stem(scan.output)}_preview.png")
    return scan.output / "preview.png"
