"""`tomoseg predict`: masks of one scan or of a folder of scans, the model loaded once."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tomoseg import __version__
from tomoseg.checks.scan import check_scan
from tomoseg.config import ALL_MASKS, AUTO, Compute, Decisions, PredictOptions, thresholds_of
from tomoseg.errors import TomosegError
from tomoseg.evaluation.measure import Measurement, measure
from tomoseg.files.atomic import whole_file
from tomoseg.files.nifti import read_ct, write_nifti
from tomoseg.files.results import NIFTI_SUFFIXES, nifti_stem, write_confidence, write_label_map, write_masks
from tomoseg.inference.ahead import ahead
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.stages import Stages
from tomoseg.models.folder import load_model
from tomoseg.pictures.preview import draw_preview, flatten
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import Volume
from tomoseg.workflows.scans import Scan, find_scans


@dataclass(frozen=True)
class ScanDone:
    """Told after each scan.

    Attributes:
        scan: Which.
        error: Why it failed, or None.
        warnings: What was noticed.
        skipped: It was done before, from the same scan with the same model and options.
        record: What is written beside the result; None if it failed.
    """

    scan: Scan
    error: str | None
    warnings: tuple[str, ...]
    skipped: bool = False
    record: dict[str, Any] | None = None


def predict(
    scans: Path,
    output: Path,
    model: Path,
    options: PredictOptions = ALL_MASKS,
    compute: Compute = AUTO,
    on_slice: Callable[[Scan, int, int], None] = lambda scan, done, total: None,
    on_scan: Callable[[ScanDone], None] = lambda done: None,
) -> list[ScanDone]:
    """Segment a scan or many; one that fails stops no other, and one that is done already is not done again.

    Args:
        scans: A NIfTI file, a folder of them, a folder with one folder a case that holds `ct.nii.gz`, a pattern, or a
            `.txt` file with one path a line.
        output: For one scan the folder of its masks, or with `ml` its file (a folder is taken for
            `FOLDER/<scan>.nii.gz`); for many a folder with one such result each.
        model: A model folder or a run folder.
        options: Which scans of these, and what is written.
        compute: What computes the network, where, and in what.
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
    found = find_scans(scans, output, options.ml, options.part)
    loaded = load_model(model)
    names = options.roi_subset or loaded.record.labels.names
    decisions = Decisions(thresholds_of(options.threshold, names), options.flips)
    predictor = Predictor(loaded, structures=options.roi_subset, decisions=decisions, **vars(compute))
    results = []
    for done in _segment_all(predictor, found, options, str(loaded.sha256), on_slice):
        results.append(done)
        on_scan(done)
    return results


def _segment_all(
    predictor: Predictor,
    scans: Sequence[Scan],
    options: PredictOptions,
    model: str,
    on_slice: Callable[[Scan, int, int], None],
) -> Iterator[ScanDone]:
    """One scan after the other; the next is read meanwhile, unless memory is limited."""
    reads = _read_all(scans, lambda scan: _asked(scan, predictor, model, options))
    for read in reads if predictor.max_memory is not None else ahead(reads):
        yield read.done or _attempt(predictor, read, options, on_slice)


def record_path(scan: Scan) -> Path:
    """Where what is known of a result is written."""
    return _beside(scan, "prediction.json")


def _beside(scan: Scan, name: str) -> Path:
    """A file among the masks, or beside the label map and named after it."""
    if scan.output.name.endswith(NIFTI_SUFFIXES):
        stem = nifti_stem(scan.output)
        return scan.output.with_name(f"{stem}_{name}" if name.endswith(".png") else f"{stem}.{name}")
    return scan.output / name


def write_statistics(measurements: Sequence[Measurement], path: Path) -> None:
    """Write what was measured, one entry a structure; null where something cannot be said, with the reason."""
    entries = {
        m.structure: {key: value for key, value in asdict(m).items() if key != "structure"} for m in measurements
    }
    with whole_file(path) as aside:
        aside.write_text(json.dumps(entries, indent=1), encoding="utf-8")


def _asked(scan: Scan, predictor: Predictor, model: str, options: PredictOptions) -> dict[str, Any]:
    """What a result depends on."""
    state = scan.path.stat() if scan.path.exists() else None
    engine = predictor.engine
    return {
        "input": {
            "path": str(scan.path.absolute()),
            "bytes": state.st_size if state else None,
            "modified_ns": state.st_mtime_ns if state else None,
        },
        "model_sha256": model,
        "structures": list(predictor.labels.names),
        "ml": options.ml,
        "preview": options.preview,
        "statistics": options.statistics,
        "confidence": options.confidence,
        "threshold": list(options.threshold),
        "flips": options.flips,
        "engine": {"name": engine.name, "device": engine.device, "precision": engine.precision},
        "tomoseg": __version__,
    }


def _done_before(scan: Scan, asked: dict[str, Any]) -> ScanDone | None:
    path = record_path(scan)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = all(record[key] == value for key, value in asked.items())
        whole = all((path.parent / name).is_file() for name in record["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ScanDone(scan, None, tuple(record["warnings"]), True, record) if same and whole else None


@dataclass
class _Read:
    """A scan, read, with what its result depends on; or why it is not, or that nothing is to be done."""

    scan: Scan
    asked: dict[str, Any]
    stages: Stages
    volume: Volume | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    done: ScanDone | None = None


def _read_all(scans: Sequence[Scan], asked_of: Callable[[Scan], dict[str, Any]]) -> Generator[_Read, None, None]:
    for scan in scans:
        read = _Read(scan, asked_of(scan), Stages())
        read.done = _done_before(scan, read.asked)
        if read.done is None:
            try:
                with read.stages("read"):
                    read.volume = read_ct(scan.path)
                    read.warnings = (*read.volume.warnings, *check_scan(read.volume))
            except (TomosegError, MemoryError) as error:
                read.error = _reason(error)
        yield read


def _reason(error: BaseException) -> str:
    return str(error) or "out of memory; use a smaller batch or fewer structures"


def _attempt(
    predictor: Predictor, read: _Read, options: PredictOptions, on_slice: Callable[[Scan, int, int], None]
) -> ScanDone:
    scan, volume, stages, warnings = read.scan, read.volume, read.stages, read.warnings
    if volume is None:
        return ScanDone(scan, read.error, warnings)
    try:
        record_path(scan).unlink(missing_ok=True)
        result, files = _segment(predictor, volume, scan, options, stages, on_slice)
        if options.statistics:
            with stages("statistics"):
                write_statistics(measure(result, volume), _beside(scan, "statistics.json"))
            files.append(_beside(scan, "statistics.json").name)
        if options.preview:
            with stages("preview"):
                shown = result if isinstance(result, LabelMap) else flatten(result)
                draw_preview(volume, shown.labels, shown.values, _beside(scan, "preview.png"), scan.name)
            files.append(_beside(scan, "preview.png").name)
        seconds = {stage: round(taken, 3) for stage, taken in stages.seconds.items()}
        found = {"files": files, "warnings": warnings, "seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}
        with whole_file(record_path(scan)) as aside:
            aside.write_text(json.dumps(read.asked | found, indent=1), encoding="utf-8")
    except (TomosegError, MemoryError, torch.OutOfMemoryError) as error:
        return ScanDone(scan, _reason(error), warnings)
    return ScanDone(scan, None, warnings, False, read.asked | found)


def _segment(
    predictor: Predictor,
    volume: Volume,
    scan: Scan,
    options: PredictOptions,
    stages: Stages,
    on_slice: Callable[[Scan, int, int], None],
) -> tuple[LabelMap | Segmentation, list[str]]:
    """Predict and write; the result and the names of its files."""

    def progress(done: int, total: int) -> None:
        on_slice(scan, done, total)

    confidence = predictor.confidence_of(volume, ml=options.ml) if options.confidence else None
    if options.ml:
        label_map = predictor.predict_label_map(volume, progress, stages, confidence)
        with stages("write"):
            write_label_map(label_map, scan.output)
            files = [scan.output.name]
            if confidence is not None:
                path = _beside(scan, "confidence.nii.gz")
                write_nifti(path, confidence.map("confidence"), confidence.grid)
                files.append(path.name)
        return label_map, files
    segmentation = predictor.predict_volume(volume, progress, stages, confidence)
    with stages("write"):
        write_masks(segmentation, scan.output)
        files = [f"{name}.nii.gz" for name in segmentation.labels.names]
        if confidence is not None:
            files += [f"confidence/{name}" for name in write_confidence(confidence, scan.output / "confidence")]
    return segmentation, files
