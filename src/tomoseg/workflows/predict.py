"""`tomoseg predict`: masks of one scan or of a folder of scans, the model loaded once."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tomoseg.checks.familiar import unlike
from tomoseg.checks.scan import Inspection, inspect_scan, refuse_warnings
from tomoseg.errors import ConfigError, TomosegError
from tomoseg.files.atomic import check_writable, remove_file, whole_file
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.scan import read_scan
from tomoseg.files.source import ScanSource
from tomoseg.inference.ahead import ahead, behind
from tomoseg.inference.expected import ExpectedDice
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.stages import Stages
from tomoseg.models.exports import Format, find_export
from tomoseg.models.folder import Model, load_model
from tomoseg.models.tuned import Tuned, load_tuned
from tomoseg.notices import Notice
from tomoseg.options import ALL_MASKS, AUTO, Compute, Decisions, PredictOptions, thresholds_of
from tomoseg.postprocess.steps import Steps, apply, apply_to_map, needs_confidence, steps_of
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.version import __version__
from tomoseg.volume import Volume
from tomoseg.workflows.results import (
    beside,
    check_formats,
    check_scan_has_format,
    write_preview,
    write_result,
    write_statistics,
)
from tomoseg.workflows.scans import Scan, find_scans, is_result

OVERLAPPING = ("grid", "prepare", "network", "decisions")
"""Stages within `segment`; the others follow one another."""


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
    model: Path | Sequence[Path],
    options: PredictOptions = ALL_MASKS,
    compute: Compute = AUTO,
    on_slice: Callable[[Scan, int, int], None] = lambda scan, done, total: None,
    on_scan: Callable[[ScanDone], None] = lambda done: None,
) -> list[ScanDone]:
    """Segment a scan or many; one that fails stops no other, and one that is done already is not done again.

    Args:
        scans: A NIfTI, NRRD or MetaImage file, or DICOM as a file, a folder or a zip archive; a folder of such files,
            a folder with one folder a case that holds `ct.nii.gz`, a pattern, or a `.txt` file with one path a line.
        output: For one scan the folder of its masks, or with `ml` its file (a folder is taken for
            `FOLDER/<scan>.nii.gz`); for many a folder with one such result each.
        model: A model folder or a run folder, or several whose logits are averaged.
        options: Which scans of these, and what is written.
        compute: What computes the network, where, and in what.
        on_slice: Told the scan, its slices done and in all.
        on_scan: Told after each scan.

    Returns:
        One entry a scan; for many scans `manifest_path` says the same.

    Raises:
        InputError: If there is no scan.
        OutputError: If the output cannot be a folder, or a result would take the place of a scan.
        ModelError: If the model cannot be loaded.
        LabelError: If the model does not know a structure.
        ConfigError: If a threshold or a step cannot be read, or needs probabilities beside a label map, or a format
            needs a package that is not installed.

    Example:
        >>> (done,) = predict(Path("ct.nii.gz"), Path("predicted"), Path("head-neck"))
        >>> done.error, len(list(Path("predicted").glob("*.nii.gz")))
        (None, 7)
    """
    check_formats(options.format)
    found = find_scans(scans, output, options.ml, options.part)
    models = [load_model(one) for one in ([model] if isinstance(model, Path) else model)]
    decisions, steps = choices_of(models, options)
    predictor = Predictor(models, structures=options.roi_subset, decisions=decisions, **vars(compute))
    order = _Order(options, decisions, steps, "+".join(str(one.sha256) for one in models), _exports(models, predictor))
    results: list[ScanDone] = []
    try:
        for done in _do_all(predictor, found, order, on_slice):
            results.append(done)
            on_scan(done)
    finally:  # what is done is told of an interrupted command too
        if not any(scan.is_only for scan in found):
            _write_manifest(results, _asked_of_all(predictor, order.model), manifest_path(output, options.part))
            if options.triage:
                _write_triage(results, triage_path(output, options.part))
    return results


@dataclass(frozen=True)
class _Order:
    """What is done to every scan.

    Attributes:
        options: As given.
        decisions: What decides, the model's own choices included.
        steps: What is done to masks, likewise.
        model: SHA-256 of the weights.
        exports: SHA-256 of the files that compute each model, where it is an export.
    """

    options: PredictOptions
    decisions: Decisions
    steps: Steps
    model: str
    exports: Sequence[Mapping[str, str]] = ()


def choices_of(models: Sequence[Model], options: PredictOptions) -> tuple[Decisions, Steps]:
    """What a single model was tuned to, and what was asked for over it.

    Args:
        models: One or several.
        options: What was asked for.

    Raises:
        ConfigError: If a threshold or a step cannot be read, or needs probabilities beside a label map.
    """
    names = options.roi_subset or models[0].record.labels.names
    tuned = (load_tuned(models[0]) if options.tuned and len(models) == 1 else None) or Tuned("")
    thresholds = {name: value for name, value in tuned.thresholds.items() if name in names}
    smoothing = tuned.smoothing if options.smoothing is None else options.smoothing
    decisions = Decisions(
        thresholds=thresholds | thresholds_of(options.threshold, names), flips=options.flips, smoothing=smoothing
    )
    if options.postprocess is None:
        own = [f"{name}={step}" for name, steps in tuned.steps.items() if name in names for step in steps]
        kept = [text for text in own if not (options.ml and "crf" in text.rpartition("=")[2])]
        return decisions, steps_of(kept, names)
    steps = steps_of(options.postprocess, names)
    if options.ml and needs_confidence(steps):
        raise ConfigError("expected masks for crf, got --ml; leave --ml off, or crf out")
    return decisions, steps


def _do_all(
    predictor: Predictor,
    scans: Sequence[Scan],
    order: _Order,
    on_slice: Callable[[Scan, int, int], None],
) -> Iterator[ScanDone]:
    """One scan after the other; meanwhile the next is read and the last is written, unless memory is limited."""
    one_at_a_time = predictor.max_memory is not None
    reads = _read_all(scans, predictor, order)
    jobs = (_segment(job, predictor, order, on_slice) for job in (reads if one_at_a_time else ahead(reads)))
    write = partial(_write, order=order)
    yield from map(write, jobs) if one_at_a_time else behind(jobs, write)


def _exports(models: Sequence[Model], predictor: Predictor) -> list[dict[str, str]]:
    """Files of exports, with their SHA-256, that compute each of the models; empty where PyTorch's weights do."""
    kinds: dict[str, Format] = {"openvino": "openvino", "onnx": "onnx"}
    found = []
    for model, engine in zip(models, predictor.engines, strict=True):
        stored = "int8" if engine.precision == "int8" else "fp32"
        export = find_export(model, kinds[engine.name], stored) if engine.name in kinds else None
        found.append({} if export is None else export.files)
    return found if any(found) else []


def record_path(scan: Scan) -> Path:
    """Where what is known of a result is written."""
    return beside(scan, "prediction.json")


def manifest_path(output: Path, part: str | None = None) -> Path:
    """Where it is written what became of each of many scans; parts of a folder have one each.

    Args:
        output: The folder of all results.
        part: Such as `2/8`.
    """
    return output / ("predictions.json" if part is None else f"predictions_{part.replace('/', '_of_')}.json")


def triage_path(output: Path, part: str | None = None) -> Path:
    """Where many scans are ranked by the Dice that may be expected of them."""
    return output / ("triage.csv" if part is None else f"triage_{part.replace('/', '_of_')}.csv")


@dataclass(frozen=True)
class Rank:
    """What may be expected of a scan.

    Attributes:
        scan: Its name.
        dice: The mean over the structures that were found.
        worst: The structure with the least.
        least: Of that one.
        found: Structures that were found; an organ that was missed is in no mean.
    """

    scan: str
    dice: float | None
    worst: str
    least: float | None
    found: int


def ranked(results: Sequence[ScanDone]) -> list[Rank]:
    """What may be expected of each scan, the one to be looked at first first.

    Args:
        results: Made with `triage`; scans in which nothing was found come first, failed ones not at all.
    """
    rows = []
    for result in results:
        if result.record is not None and "expected_dice" in result.record:
            found = result.record["expected_dice"]
            known = {name: value for name, value in found["structures"].items() if value is not None}
            worst = min(known, key=lambda name: known[name], default="")
            rows.append(Rank(result.scan.name, found["mean"], worst, known.get(worst), len(known)))
    return sorted(rows, key=lambda row: -1.0 if row.dice is None else row.dice)


def _write_triage(results: Sequence[ScanDone], path: Path) -> None:
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("scan", "expected_dice", "worst_structure", "expected_dice_of_it", "structures_found"))
        writer.writerows((r.scan, _four(r.dice), r.worst, _four(r.least), r.found) for r in ranked(results))


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _write_manifest(results: Sequence[ScanDone], of_all: dict[str, Any], path: Path) -> None:
    """What became of each scan: its files, seconds by stage, peak memory and warnings, or why it failed."""
    of_each = ("files", "seconds", "peak_memory_bytes")
    scans = [
        {
            "name": done.scan.name,
            "input": str(done.scan.path.absolute()),
            "output": str(done.scan.output.absolute()),
            "state": "failed" if done.record is None else "done before" if done.skipped else "done",
            "error": done.error,
            "warnings": done.warnings,
            **{key: None if done.record is None else done.record[key] for key in of_each},
        }
        for done in results
    ]
    with whole_file(path) as aside:
        aside.write_text(json.dumps(of_all | {"scans": scans}, indent=1), encoding="utf-8")


def _asked_of_all(predictor: Predictor, model: str) -> dict[str, Any]:
    """What every result depends on."""
    engine = predictor.engine
    return {
        "model_sha256": model,
        "structures": list(predictor.labels.names),
        "engine": {"name": engine.name, "device": engine.device, "precision": engine.precision},
        "tomoseg": __version__,
    }


def _asked(scan: Scan, source: ScanSource, predictor: Predictor, order: _Order) -> dict[str, Any]:
    """What a result depends on."""
    options = order.options
    states = [file for file in source.files if not is_result(file.path, scan.path, scan.output)]
    return {
        "input": {
            "path": str(scan.path.absolute()),
            "bytes": sum(state.size for state in states) if states else None,
            "modified_ns": max((state.modified_ns for state in states), default=None),
        },
        "series": options.series,
        **({"strict": True} if options.strict else {}),
        "assume_spacing": options.assume_spacing and list(options.assume_spacing),
        "ml": options.ml,
        "format": list(options.format),
        "preview": options.lang if options.preview else None,
        "statistics": options.statistics,
        "confidence": options.confidence,
        "threshold": order.decisions.thresholds,
        "smoothing": order.decisions.smoothing,
        "flips": options.flips,
        "triage": options.triage,
        "postprocess": {name: [str(step) for step in steps] for name, steps in order.steps.items()},
        **({"exports": list(order.exports)} if order.exports else {}),
    } | _asked_of_all(predictor, order.model)


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
class _Job:
    """A scan on its way.

    Attributes:
        scan: Which.
        asked: What its result depends on.
        stages: Seconds by stage.
        volume: Once read.
        warnings: What was noticed.
        result: Once segmented.
        confidence: Its probabilities, if they are asked for.
        expected: What its Dice may be expected to be, if that is asked for.
        done: The end of it: it was done before, has failed, or is written.
    """

    scan: Scan
    asked: dict[str, Any]
    stages: Stages
    volume: Volume | None = None
    warnings: tuple[str, ...] = ()
    result: LabelMap | Segmentation | None = None
    confidence: Confidence | None = None
    expected: ExpectedDice | None = None
    done: ScanDone | None = None

    @contextmanager
    def failing_alone(self) -> Iterator[None]:
        """An error in the block is the end of this scan and of no other."""
        try:
            yield
        except (TomosegError, MemoryError, torch.OutOfMemoryError, PermissionError) as error:
            reason = str(error) or "out of memory; use a smaller batch or fewer structures"
            self.done = ScanDone(self.scan, reason, self.warnings)


def _read_all(scans: Sequence[Scan], predictor: Predictor, order: _Order) -> Generator[_Job, None, None]:
    for scan in scans:
        job = _Job(scan, {}, Stages())
        with job.failing_alone():
            source = scan.source()
            job.asked = _asked(scan, source, predictor, order)
            job.done = _done_before(scan, job.asked)
        if job.done is None:
            with job.failing_alone(), job.stages("read"):
                check_writable(scan.output)
                job.volume = read_scan(source, order.options.series, order.options.assume_spacing)
                check_scan_has_format(job.volume.source, order.options.format, scan.path)
                seen = inspect_scan(job.volume, contrast=False)
                noticed = (*job.volume.warnings, *seen.notices, *_unfamiliar(job.volume, seen, predictor))
                job.warnings = noticed
                if order.options.strict:
                    refuse_warnings(noticed, str(scan.path))
        yield job


def _unfamiliar(volume: Volume, seen: Inspection, predictor: Predictor) -> tuple[Notice, ...]:
    """In what a scan differs from the model's training scans, where the model knows them."""
    trained_on = predictor.record.trained_on
    return () if trained_on is None else unlike(volume, trained_on, [part.name for part in seen.parts])


def _segment(job: _Job, predictor: Predictor, order: _Order, on_slice: Callable[[Scan, int, int], None]) -> _Job:
    if job.done is not None or job.volume is None:
        return job

    def progress(done: int, total: int) -> None:
        on_slice(job.scan, done, total)

    options = order.options
    segment = predictor.predict_label_map if options.ml else predictor.predict_volume
    wanted = options.confidence or needs_confidence(order.steps)
    with job.failing_alone():
        remove_file(record_path(job.scan))
        job.confidence = predictor.confidence_of(job.volume, ml=options.ml) if wanted else None
        job.expected = predictor.expected_dice() if options.triage else None
        with job.stages("segment"):
            job.result = segment(job.volume, progress, job.stages, job.confidence, job.expected)
        if order.steps:
            with job.stages("postprocess"):
                job.result = _postprocessed(job, order.steps)
        if not options.confidence:
            job.confidence = None
    return job


def _postprocessed(job: _Job, steps: Steps) -> LabelMap | Segmentation:
    assert job.result is not None  # segmented
    if isinstance(job.result, LabelMap):
        return apply_to_map(job.result, steps)
    assert job.volume is not None  # segmented
    return apply(job.result, steps, job.volume.hu, job.confidence)


def _write(job: _Job, order: _Order) -> ScanDone:
    if job.done is None:
        with job.failing_alone():
            record = _write_files(job, order)
            job.done = ScanDone(job.scan, None, job.warnings, False, record)
    assert job.done is not None  # written or failed
    return job.done


def _write_files(job: _Job, order: _Order) -> dict[str, Any]:
    """Everything that belongs to a result, its record last."""
    assert job.volume is not None  # segmented
    assert job.result is not None
    options = order.options
    with job.stages("write"):
        written = write_result(job.result, job.confidence, job.scan, options.format, MadeBy(order.model))
    files = written.files
    job.warnings += written.warnings
    if options.statistics:
        with job.stages("statistics"):
            files.append(write_statistics(job.result, job.volume, job.scan))
    if options.preview:
        with job.stages("preview"):
            files.append(write_preview(job.result, job.volume, job.scan, options.lang))
    seconds = {stage: round(taken, 3) for stage, taken in job.stages.seconds.items()}
    found: dict[str, Any] = {
        "files": files,
        "warnings": job.warnings,
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }
    if job.expected is not None:
        found["expected_dice"] = {"mean": job.expected.mean(), "structures": job.expected.structures()}
    with whole_file(record_path(job.scan)) as aside:
        aside.write_text(json.dumps(job.asked | found, indent=1), encoding="utf-8")
    return job.asked | found
