"""`tomoseg preprocess`: a dataset resampled and compressed once, for fast training."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from tomoseg.cases.folders import Folders
from tomoseg.cases.place import place_of
from tomoseg.cases.run import run_cases
from tomoseg.cases.work import CaseFunction
from tomoseg.checks.holdings import Holdings
from tomoseg.checks.scan import inspect_scan
from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.datasets.cases import Case, mask_loader, read_case
from tomoseg.datasets.corrections import with_corrections
from tomoseg.datasets.layouts import Dataset
from tomoseg.datasets.predictions import only_trusted
from tomoseg.datasets.splits import assign_splits
from tomoseg.errors import DatasetError, OutputError, TomosegError, counted
from tomoseg.files.atomic import remove_file, whole_file, whole_folder
from tomoseg.files.contents import files_of
from tomoseg.files.outputs import begin_folder
from tomoseg.files.paths import real
from tomoseg.labels import LabelSet
from tomoseg.limits import refusal
from tomoseg.models.folder import is_model
from tomoseg.notices import Notice, gathered
from tomoseg.options import HERE, Spread
from tomoseg.preprocessed.format import CASES, FORMAT_VERSION, INDEX, CaseRecord, DatasetIndex
from tomoseg.preprocessed.holdings import holdings_of
from tomoseg.preprocessed.read import OpenArrays, PreprocessedCase
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.volume import seen
from tomoseg.workflows.datasets import open_dataset

MOST_WORKERS = 8
"""Maximum number of processes; more take memory and wait for the disk."""

NOT_SURE = "expected masks that the model is sure of, got none: it found nothing, or the scan is unlike its training"
"""Error of a case without trusted masks."""

LOW_CEILING = 0.9
"""Below this Dice after going to the grid and back, the grid is too coarse for a structure."""


@dataclass(frozen=True)
class CaseDone:
    """The outcome of one case: its record, or the error."""

    name: str
    record: CaseRecord | None
    error: str | None
    reused: bool = False


@dataclass(frozen=True)
class PreprocessReport:
    """The outcome of preprocessing.

    Attributes:
        labels: The structures of the dataset.
        layout: The layout of its files.
        records: The records of the preprocessed cases.
        splits: The split of each case, by its name.
        failed: The reason by name of each case that failed and is left out.
        ceilings: Mean Dice of each structure after resampling its reference to the grid and back, the highest score
            that the grid allows; None if it never occurs.
        warnings: Warnings about the dataset and about cases.
        holdings: Cases, structures and volumes of the preprocessed dataset.
        left_out: Those of the warnings that are about files of the dataset that are not used.
    """

    labels: LabelSet
    layout: str
    records: list[CaseRecord]
    splits: dict[str, str]
    failed: dict[str, str]
    ceilings: dict[str, float | None]
    warnings: list[str | Notice]
    holdings: Holdings
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Task:
    case: Case
    labels: LabelSet
    grid: GridConfig
    output: Path
    keep_native: bool
    threads: int

    @property
    def folder(self) -> Path:
        return self.output / CASES / self.case.name


def preprocess(
    dataset: Path | str,
    output: Path | str,
    config: PreprocessConfig,
    on_found: Callable[[Dataset], None] = lambda found: None,
    on_case: Callable[[CaseDone], None] = lambda done: None,
    corrections: Path | str | None = None,
    spread: Spread = HERE,
) -> PreprocessReport:
    """Resample every case of a dataset to the network's grid and write it compressed, for fast training.

    Cases that are already done and unchanged are kept, so that an interrupted run continues where it stopped.

    Args:
        dataset: A folder of labelled scans in one of the supported layouts.
        output: Folder to write the preprocessed dataset to.
        config: Grid, structures, splits and number of workers.
        on_found: Called before the first case with the cases that were found and what is left out.
        on_case: Called after each case with its outcome.
        corrections: A folder of corrected masks; the latest version of each replaces the dataset's mask.
        spread: Where the cases are processed; if omitted, in as many processes on this machine as the settings say.

    Returns:
        The outcome of each case.

    Raises:
        DatasetError: If no usable case is found, every case fails, the folder contains cases of another grid, or a mask
            to be left out does not exist.
        LabelError: If a requested structure is unknown.
        OutputError: If the output cannot be written, or is the dataset itself, or a model or a run.

    Example:
        >>> settings = PreprocessConfig(grid=GridConfig(spacing_mm=16.0), structures=("liver",), workers=1)
        >>> report = preprocess(Path("DATASET"), Path("coarse"), settings)
        >>> report.labels.names, len(report.records), report.failed
        (('liver',), 4, {})
    """
    dataset, output = Path(dataset), Path(output)
    begin_preprocessed(dataset, output)
    found = open_dataset(dataset)
    labels = found.labels.subset(config.structures) if config.structures else found.labels
    cases, doubted, uncorrected = believed(found, config, Path(corrections) if corrections is not None else None)
    splits = assign_splits(cases, config.validation_share, config.test_share, config.seed)
    renumbered = _check_output(output, labels, config.grid)
    processors = os.cpu_count() or 1
    workers = min(_workers(config, spread, processors), len(cases))
    threads = spread.cpus if place_of(spread).is_elsewhere else max(1, processors // workers)
    tasks = [
        _Task(case, labels, config.grid, output, keep_native=splits[case.name] != "train", threads=threads)
        for case in cases
    ]
    on_found(found)
    records, failed = _done(_run(tasks, workers, spread, Folders((dataset,), output)), on_case)
    failed |= {case.name: NOT_SURE for case in found.cases if case.name not in splits}
    if not records:
        raise DatasetError(
            f"{dataset}: expected at least one usable case, got none; first: {next(iter(failed.values()))}"
        )
    kept: dict[str, str] = {record.name: splits[record.name] for record in records}
    with whole_file(output / INDEX) as aside:
        aside.write_text(DatasetIndex(labels, config.grid, kept).to_json(), encoding="utf-8")
    warnings: list[str | Notice] = [*found.warnings, *doubted, *uncorrected, *renumbered, *_noticed(cases, records)]
    held = holdings_of(records, labels, config.grid.view)
    done = ceilings(records, labels)
    left_out = (*map(str, found.left_out), *uncorrected)
    return PreprocessReport(labels, found.layout, records, kept, failed, done, warnings, held, left_out)


def begin_preprocessed(dataset: Path, output: Path) -> None:
    """Check the folder of a preprocessed dataset before anything is read; other files in it are left alone.

    Args:
        dataset: The folder of labelled scans.
        output: The folder to write to.

    Raises:
        OutputError: If it cannot be written, or is the dataset itself, or a model or a run, which would no longer be
            recognised as such.
    """
    is_own = real(output) == real(dataset)
    begin_folder(output, (INDEX,))
    if is_own or (output.is_dir() and is_model(output)):  # a folder that is not there may have a packaged model's name
        got = "the dataset itself" if is_own else "a model or a run"
        raise OutputError(
            f"{output}: expected a folder for the preprocessed dataset, got {got}; choose another output folder"
        )
    begin_folder(output / CASES)


def preprocess_some(cases: Mapping[str, Sequence[Case]], labels: LabelSet, grid: GridConfig, output: Path) -> None:
    """Preprocess one case of each split on a grid, for measurements.

    Args:
        cases: Candidates by split; the first readable one is taken.
        labels: The dataset's structures.
        grid: The network's grid.
        output: An empty folder.

    Raises:
        OSError: If the disk is full.
        OutputError: If a case cannot be written.
    """
    splits: dict[str, str] = {}
    for split, of_split in cases.items():
        tasks = (_Task(c, labels, grid, output, split != "train", threads=os.cpu_count() or 1) for c in of_split)
        splits |= {name: split for name in islice(_readable(tasks), 1)}
    (output / INDEX).write_text(DatasetIndex(labels, grid, splits).to_json(), encoding="utf-8")


def _readable(tasks: Iterable[_Task]) -> Iterator[str]:
    """Write the tasks in order and yield their names, without unreadable ones.

    Raises:
        OutputError: If a case cannot be written.
    """
    for task in tasks:
        try:
            yield _write(task, "tried").name
        except OutputError:
            raise
        except TomosegError:
            continue


def _noticed(cases: Sequence[Case], records: Sequence[CaseRecord]) -> list[Notice]:
    """Return the notices about the scans, with the names of their cases."""
    scans = {case.name: case.ct for case in cases}
    return gathered((one.name, notice.without(scans[one.name])) for one in records for notice in one.warnings)


def _done(results: Iterable[CaseDone], on_case: Callable[[CaseDone], None]) -> tuple[list[CaseRecord], dict[str, str]]:
    """Return the records of the cases done, and the errors of the others by name."""
    records, failed = [], {}
    for result in results:
        on_case(result)
        if result.record is not None:
            records.append(result.record)
        if result.error is not None:
            failed[result.name] = result.error
    return sorted(records, key=lambda record: record.name), dict(sorted(failed.items()))


def believed(
    found: Dataset, config: PreprocessConfig, corrections: Path | None = None
) -> tuple[list[Case], list[str], list[str]]:
    """Return the cases with the masks to train on.

    Corrections are applied first, since they tend to concern the masks that a model is least sure of.

    Args:
        found: The dataset.
        config: `leave_out` and `trusted_share`.
        corrections: A folder of corrected masks.

    Returns:
        The cases, the predicted masks left out, and sentences about corrections left out.

    Raises:
        DatasetError: If a mask to leave out does not exist, nothing is left, or a correction cannot be read.
        LabelError: If a structure's name cannot be used.
    """
    wanted = without_masks(found.cases, config.leave_out)
    corrected, uncorrected = with_corrections(wanted, corrections, found.labels.names)
    kept, doubted = only_trusted(corrected, config.trusted_share)
    if not kept:
        raise DatasetError(NOT_SURE)
    return kept, doubted, uncorrected


def without_masks(cases: Sequence[Case], masks: Sequence[str]) -> list[Case]:
    """Return the cases with some masks marked as not annotated.

    Args:
        cases: The cases found.
        masks: Masks to leave out, as CASE/STRUCTURE.

    Raises:
        DatasetError: If one names no annotated structure of a case.
    """
    left = {case.name: set(case.annotated) for case in cases}
    for mask in masks:
        name, _, structure = mask.rpartition("/")
        if structure not in left.get(name, ()):
            raise DatasetError(
                f"leave_out: expected CASE/STRUCTURE of an annotated structure, got {mask!r}; "
                + (f"{name} has {', '.join(sorted(left[name])) or 'none'}" if name in left else "there is no such case")
            )
        left[name].remove(structure)
    return [replace(case, annotated=tuple(one for one in case.annotated if one in left[case.name])) for case in cases]


def ceilings(records: Iterable[CaseRecord], labels: LabelSet) -> dict[str, float | None]:
    """Return the mean Dice of each structure after resampling to the grid and back; None if it never occurs."""
    found: dict[str, list[float]] = {name: [] for name in labels.names}
    for record in records:
        for channel, dice in record.ceiling.items():
            found[labels.names[channel]].append(dice)
    return {name: float(np.mean(dice)) if dice else None for name, dice in found.items()}


def _run(tasks: list[_Task], workers: int, spread: Spread, folders: Folders) -> Iterator[CaseDone]:
    """Yield the outcome of each case, from `workers` processes here or from a cluster."""
    who = Spread(on=f"processes:{workers}") if spread.on == "here" and workers > 1 else spread
    work = CaseFunction[_Task, CaseDone](_attempt, _unable)
    yield from (done for _, done in run_cases(work, tasks, who, folders=folders))


def _workers(config: PreprocessConfig, spread: Spread, processors: int) -> int:
    """Return the number of processes on this machine."""
    return place_of(spread).workers if spread.on != "here" else config.workers or min(processors, MOST_WORKERS)


def _unable(task: _Task, reason: str) -> CaseDone:
    return CaseDone(task.case.name, None, reason)


def _attempt(task: _Task) -> CaseDone:
    """Preprocess one case; its errors are returned and do not stop other cases."""
    try:
        fingerprint = _fingerprint(task)
        existing = _existing(task, fingerprint)
        if existing is not None:
            return CaseDone(task.case.name, existing, None, reused=True)
        return CaseDone(task.case.name, _write(task, fingerprint), None)
    except TomosegError as error:
        return CaseDone(task.case.name, None, str(error))
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        return CaseDone(task.case.name, None, reason)


def _write(task: _Task, fingerprint: str) -> CaseRecord:
    case, labels = task.case, task.labels
    volume = read_case(case)
    annotated = tuple(labels.channel(name) for name in case.annotated if name in labels)
    load = mask_loader(case, labels, volume.source)
    view = task.grid.view
    found = inspect_scan(volume, contrast=False)
    parts = tuple(dict.fromkeys(part.name for part in found.parts))
    given = CaseInput(
        case.name,
        case.patient,
        volume.seen(view),
        lambda channel: seen(load(channel), view),
        annotated,
        len(labels),
        fingerprint,
        tuple(found.notices),
        parts,
    )
    with whole_folder(task.folder, replace=True) as aside:
        record = write_case(given, aside, task.grid, keep_native=task.keep_native, threads=task.threads)
        remove_file(task.output / INDEX)  # a dataset with an index is complete, and from one run
        return record


def _existing(task: _Task, fingerprint: str) -> CaseRecord | None:
    """Return the existing case, unless it is damaged, out of date, or in an older format."""
    try:
        case = PreprocessedCase(task.folder, "validation" if task.keep_native else "train", OpenArrays())
        case.check()
    except (DatasetError, IndexError):
        return None
    record = case.record
    is_whole = None not in (record.difficulty, record.parts, record.contents, record.tissue_hu)
    return record if record.fingerprint == fingerprint and is_whole else None


def _fingerprint(task: _Task) -> str:
    """Return a hash of the files' contents and times, slices and voxel files included, the grid and the label set.

    Contents alone would determine the output; with the time, a file that was written again is read again, which shows
    whether it can be read.
    """
    case = task.case
    files = [file for path in (case.ct, *sorted(case.mask_files)) for file in files_of(path)]
    content = [
        FORMAT_VERSION,
        [(name, _state_of(path)) for name, path in files],
        task.grid.model_dump(mode="json", exclude=None if task.grid.view != "axial" else {"view"}),  # as before views
        task.labels.names,
        sorted(case.annotated),
        *([sorted(case.corrected)] if case.corrected else []),
        sorted(case.label_values.items()),
        case.patient,
        task.keep_native,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _state_of(path: Path) -> tuple[int, str] | None:
    """Return the modification time and SHA-256 of a file; None if it cannot be read, which its reader reports."""
    try:
        with path.open("rb") as file:
            return path.stat().st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _check_output(output: Path, labels: LabelSet, grid: GridConfig) -> list[str]:
    """Return a warning if an existing dataset numbers its structures differently, which changes no array.

    Raises:
        DatasetError: If the existing dataset has another grid or other structures.
    """
    if not (output / INDEX).exists():
        return []
    there = DatasetIndex.load(output)
    if there.grid != grid or there.labels.names != labels.names:
        what = "another grid" if there.grid != grid else "other structures"
        raise DatasetError(
            f"{output}: expected to continue the preprocessed dataset in this folder, got {what}; choose "
            "another output folder or delete this one"
        )
    changed = [
        f"{new.name} {old.id} to {new.id}" for old, new in zip(there.labels, labels, strict=True) if new.id != old.id
    ]
    if not changed:
        return []
    return [
        f"{output}: the ids of {counted(len(changed), 'structure')} were changed to those of the dataset "
        f"({', '.join(changed[:4])}{', ...' if len(changed) > 4 else ''}); models trained on it keep the former ones."
    ]
