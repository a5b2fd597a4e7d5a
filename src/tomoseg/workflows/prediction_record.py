"""Records written with results of `tomoseg predict`: the settings of each result, and the outcome of each scan."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tomoseg.errors import OutputError
from tomoseg.files.atomic import write_whole_text
from tomoseg.files.itk.detached import detached
from tomoseg.files.source import ScanSource, SourceFile
from tomoseg.files.stores.addresses import in_urls
from tomoseg.inference.choices import Choices, FoundBox
from tomoseg.inference.engine import Engine
from tomoseg.inference.engines import ENGINES
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.inference.self_rating import SelfRating
from tomoseg.models.exports import find_export
from tomoseg.models.folder import Model
from tomoseg.models.tuned import Tuned
from tomoseg.notices import Notice
from tomoseg.options import PredictOptions
from tomoseg.settings import deciding
from tomoseg.version import __version__
from tomoseg.workflows.results import Written, result_path, unwritten_message
from tomoseg.workflows.scans import Scan, is_result

OVERLAPPING = ("grid", "prepare", "network", "decisions")
"""Stages within `segment`, which overlap; the other stages are sequential."""


@dataclass(frozen=True)
class ScanDone:
    """The outcome of one scan.

    Attributes:
        scan: The scan.
        error: Why it failed, or why a format was not written; None if all went well.
        warnings: Warnings about the scan and its result.
        skipped: Whether it was already done, from the same scan with the same model and options.
        record: The record that is written next to the result; None if there is none.
        traceback: Traceback of an unexpected error.
    """

    scan: Scan
    error: str | None
    warnings: tuple[Notice, ...]
    skipped: bool = False
    record: dict[str, Any] | None = None
    traceback: str | None = None

    @property
    def state(self) -> str:
        """`done`, `done before`, `incomplete` where a format was not written, or `failed`."""
        if self.error is not None:
            return "failed" if self.record is None else "incomplete"
        return "done before" if self.skipped else "done"


RECORD = "prediction.json"


def record_path(scan: Scan) -> Path:
    """Return the path of the record of a result."""
    return result_path(scan, RECORD)


def noticed_of_result(file: Path) -> tuple[Notice, ...]:
    """Return the notices in the record of a result file; empty without a record.

    Args:
        file: Masks or a label map, of whatever format.
    """
    for record in _records_beside(file):
        try:
            scan = Path(record["input"]["path"]).name
            return tuple(_of_no_file(Notice.from_dict(one), scan) for one in record["warnings"])
        except (KeyError, TypeError, AttributeError):
            continue
    return ()


def scan_of_result(file: Path) -> Path | None:
    """Return the path of the scan of a result file, if its record names it and it still exists.

    Args:
        file: Masks or a label map, of whatever format.
    """
    for record in _records_beside(file):
        try:
            scan = Path(record["input"]["path"])
        except (KeyError, TypeError):
            continue
        return scan if scan.exists() else None
    return None


def _records_beside(file: Path) -> Iterator[Any]:
    """Yield the possible records of a file, the likeliest first."""
    parts = file.name.split(".")
    names = [".".join([*parts[:count], RECORD]) for count in range(len(parts) - 1, 0, -1)]
    for path in (*map(file.with_name, names), file.with_name(RECORD)):
        try:
            yield json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def _of_no_file(notice: Notice, scan: str) -> Notice:
    """Return a notice without the path of the scan."""
    path, _, _ = notice.message.partition(": ")
    return notice.without(path) if Path(path).name == scan else notice


def manifest_path(output: Path, part: str | None = None) -> Path:
    """Return the path of the manifest of many scans; each part of a folder has its own.

    Args:
        output: The folder of all results.
        part: The part, such as `2/8`.
    """
    return output / ("predictions.json" if part is None else f"predictions_{part.replace('/', '_of_')}.json")


def asked_of_all(choices: Choices, engine: Engine, model: str, exports: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return the settings that every result depends on.

    Args:
        choices: Thresholds and postprocessing, tuning included.
        engine: The engine that runs the network.
        model: SHA-256 of the weights.
        exports: SHA-256 of the export files used for each model, if any.
    """
    return {
        "threshold": choices.decisions.thresholds,
        "smoothing": choices.decisions.smoothing,
        "flips": choices.decisions.flips,
        "postprocess": {name: [str(step) for step in steps] for name, steps in choices.steps.items()},
        **({"exports": list(exports)} if exports else {}),
        **({"tuned": _of_tuning(choices.tuned)} if choices.tuned is not None else {}),
        **({"temperatures": dict(choices.temperatures)} if choices.temperatures is not None else {}),
        **({"box": _of_box(choices.box)} if choices.box is not None else {}),
        "model_sha256": model,
        "structures": list(choices.labels.names),
        "engine": {"name": engine.name, "device": engine.device, "precision": engine.precision},
        "tomoseg": __version__,
    }


def _of_box(box: FoundBox) -> dict[str, Any]:
    """Return the record of the model that finds the box to segment."""
    return box.rule.model_dump(mode="json") | {"finder_sha256": box.sha256}


def _of_tuning(tuned: Tuned) -> dict[str, Any]:
    """Return the record of a tuning: its number of cases, and its gain on other patients, which older ones lack."""
    return {"cases": tuned.cases} | ({} if tuned.gain is None else {"gain": round(tuned.gain, 4)})


def exports_of(models: Sequence[Model], engines: Sequence[Engine]) -> list[dict[str, str]]:
    """Return for each model the export files that it runs from, with their SHA-256; empty if it runs from the weights.

    Args:
        models: The loaded models.
        engines: The engine of each.
    """
    found = []
    for model, engine in zip(models, engines, strict=True):
        kind = ENGINES[engine.name]
        export = None if kind.conversion is None else find_export(model, kind.name, kind.stores(engine.precision))
        found.append({} if export is None else export.files)
    return found if any(found) else []


def asked_of(scan: Scan, source: ScanSource, options: PredictOptions) -> dict[str, Any]:
    """Return the further settings that one result depends on.

    Args:
        scan: The scan.
        source: The files of the scan.
        options: The requested options.
    """
    there = (*source.files, *detached(source))
    files = [file for file in there if not is_result(file.path, scan.path, scan.output)]
    return {
        "input": {
            "path": in_urls(str(scan.path.absolute())),
            "bytes": sum(file.size for file in files) if files else None,
            "modified_ns": max((file.modified_ns for file in files), default=None),
            "sha256": _state_of(files, scan.path),
        },
        "options": deciding(options.model_copy(update={"strict": False, "force": False})),
        **({"strict": True} if options.strict else {}),  # a strict result also serves a run that is not strict
        "preview": options.lang if options.preview else None,
        **({"page_3d": options.lang} if options.page_3d else {}),
    }


def _state_of(files: Sequence[SourceFile], path: Path) -> str:
    """Return a digest of each file's name, size and times; the change time reveals replaced files."""
    states = [(os.path.relpath(f.path, path), f.size, f.modified_ns, f.changed_ns) for f in files]
    return hashlib.sha256(repr(sorted(states)).encode()).hexdigest()


def done_before(scan: Scan, asked: dict[str, Any]) -> ScanDone | None:
    """Return the outcome of a scan whose complete result with the same settings exists; else None.

    Args:
        scan: The scan.
        asked: The settings that its result depends on.
    """
    path = record_path(scan)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = all(record[key] == value for key, value in asked.items())
        whole = all((path.parent / name).exists() for name in record["files"])
        warnings = tuple(Notice.from_dict(one) for one in record["warnings"])
        error = unwritten_message(record.get("not_written", {})) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ScanDone(scan, error, warnings, True, record) if same and whole else None


def refuse_newer(scan: Scan, asked: Mapping[str, Any], known: str | None) -> None:
    """Refuse to write over a result that another command with other settings has written since a scan was begun.

    That happens if this process was stopped meanwhile, or if both run at once.

    Args:
        scan: The scan.
        asked: The settings that its result depends on.
        known: The record, from `record_text`, when the scan was begun.

    Raises:
        OutputError: If there is one.
    """
    now = record_text(scan)
    if now is None or now == known or _is_of(now, asked):
        return
    raise OutputError(
        f"{record_path(scan)}: expected no newer result, got one that another command with other options has written "
        "since this one began; it is kept; write each into a folder of its own"
    )


def record_text(scan: Scan) -> str | None:
    """Return the record of a scan as it is written; None if there is none."""
    try:
        return record_path(scan).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _is_of(text: str, asked: Mapping[str, Any]) -> bool:
    """Return whether a record is of the same settings."""
    try:
        record = json.loads(text)
        return all(record[key] == value for key, value in asked.items())
    except (ValueError, KeyError, TypeError):
        return False


def record_of(
    asked: dict[str, Any],
    written: Written,
    notices: Sequence[Notice],
    seconds: dict[str, float],
    rating: SelfRating | None,
) -> dict[str, Any]:
    """Return the record of a result.

    Args:
        asked: The settings that it depends on.
        written: The files written, and formats that failed.
        notices: The notices.
        seconds: Seconds by stage.
        rating: The model's self-rating, if requested.
    """
    record = asked | {
        "files": list(written.files),
        "warnings": [notice.as_dict() for notice in notices],
        "seconds": {stage: round(taken, 3) for stage, taken in seconds.items()},
        "peak_memory_bytes": peak_memory_bytes(),
    }
    if written.failed:
        record["not_written"] = dict(written.failed)
    if rating is not None:
        record["self_rating"] = asdict(rating)
    return record


def write_record(scan: Scan, record: dict[str, Any]) -> None:
    """Write the record of a result next to it.

    Args:
        scan: The scan.
        record: The record from `record_of`.

    Raises:
        OutputError: If it cannot be written.
    """
    write_whole_text(record_path(scan), json.dumps(record, indent=1))


def write_failure(scan: Scan, asked: dict[str, Any], reason: str, traceback: str) -> Path | None:
    """Write the traceback of an unexpected error in place of the record of a scan.

    Args:
        scan: The scan.
        asked: The settings of the result, as far as known.
        reason: The error.
        traceback: The traceback of the error.

    Returns:
        Path of the file; None if it cannot be written.
    """
    path = record_path(scan)
    try:
        write_whole_text(path, json.dumps(asked | {"error": reason, "traceback": traceback}, indent=1))
    except (OSError, OutputError):
        return None
    return path


def write_manifest(
    results: Sequence[ScanDone], of_all: dict[str, Any], path: Path, left_out: Sequence[str] = ()
) -> None:
    """Write the manifest: for each scan its files, seconds by stage, peak memory and warnings, or its error.

    Args:
        results: The outcomes, in order.
        of_all: The settings that every result depends on.
        path: The JSON file.
        left_out: Files left out, each with the reason.

    Raises:
        OutputError: If it cannot be written.
    """
    of_each = ("files", "seconds", "peak_memory_bytes")
    scans = [
        {
            "name": done.scan.name,
            "input": str(done.scan.path.absolute()),
            "output": str(done.scan.output.absolute()),
            "state": done.state,
            "error": done.error,
            **({} if done.traceback is None else {"traceback": done.traceback}),
            "warnings": [notice.as_dict() for notice in done.warnings],
            **{key: None if done.record is None else done.record[key] for key in of_each},
        }
        for done in results
    ]
    write_whole_text(path, json.dumps(of_all | {"scans": scans, "left_out": list(left_out)}, indent=1))
