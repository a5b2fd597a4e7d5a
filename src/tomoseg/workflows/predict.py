"""`tomoseg predict`: masks of one scan or of a folder of scans, the model loaded once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tomoseg.cases.folders import Folders
from tomoseg.cases.run import run_cases
from tomoseg.checks.scan import refuse_warnings
from tomoseg.errors import TomosegError
from tomoseg.files.asides import remove_left_overs
from tomoseg.files.atomic import checked_first, remove_file
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.no_scan import refuse_known, refuse_map
from tomoseg.files.outputs import begin_folder, check_place
from tomoseg.files.scan import read_scan
from tomoseg.inference.background import prefetch, write_behind
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import Prediction, open_predictor, preflight, segment
from tomoseg.inference.stages import Stages
from tomoseg.limits import refusal
from tomoseg.models.folder import load_model
from tomoseg.notices import Notice, by_weight
from tomoseg.options import ALL_MASKS, AUTO, Compute, PredictOptions
from tomoseg.volume import Volume
from tomoseg.workflows.cohort_statistics import cohort_statistics_path, write_cohort_statistics
from tomoseg.workflows.prediction_record import (
    ScanDone,
    asked_of,
    asked_of_all,
    done_before,
    exports_of,
    manifest_path,
    record_of,
    record_path,
    record_text,
    refuse_newer,
    write_failure,
    write_manifest,
    write_record,
)
from tomoseg.workflows.result_places import check_places
from tomoseg.workflows.results import (
    check_formats,
    impossible_formats,
    unwritten_message,
    write_preview,
    write_result,
    write_result_page,
    write_statistics,
)
from tomoseg.workflows.scans import FoundScans, Scan, find_scans
from tomoseg.workflows.sharing import Unreplaced, check_can_share, share_scans
from tomoseg.workflows.triage import triage_path, write_triage


def predict(
    scans: Path | str,
    output: Path | str,
    model: Path | str | Sequence[Path | str],
    options: PredictOptions = ALL_MASKS,
    compute: Compute = AUTO,
    on_slice: Callable[[Scan, int, int], None] = lambda scan, done, total: None,
    on_scan: Callable[[ScanDone], None] = lambda done: None,
    on_found: Callable[[FoundScans], None] = lambda found: None,
) -> list[ScanDone]:
    """Segment one scan or many; a scan that fails does not stop the others, and scans that are done are skipped.

    Args:
        scans: A NIfTI, NRRD or MetaImage file; DICOM as a file, a folder or a ZIP archive; a folder that contains any
            of these at any depth; a pattern; or a `.txt` file with one path per line.
        output: For one scan, the folder of its masks, or with `ml` its label map (a folder stands for
            `FOLDER/<scan>.nii.gz`); for many scans, a folder that gets one such result per scan.
        model: A model folder, a run folder or the name of a model, or several whose logits are averaged.
        options: Which scans to segment, how, and what to write.
        compute: The engine, device and precision that run the network.
        on_slice: Called after each slice with the scan, the number of slices done and the total number of slices.
        on_scan: Called after each scan with its outcome.
        on_found: Called before the first scan with the scans that were found and what is left out.

    Returns:
        The outcome of each scan; for many scans it is also written to `manifest_path`, with what was left out.

    Raises:
        InputError: If there is no scan.
        OutputError: If the output cannot be a folder, or a result would overwrite a scan.
        ModelError: If the model cannot be loaded.
        LabelError: If the model does not have a requested structure.
        ConfigError: If a threshold or a step cannot be read, or needs probabilities beside a label map, a format
            needs a package that is not installed, or workers that share the scans have other settings.

    Example:
        >>> (done,) = predict(Path("ct.nii.gz"), Path("predicted"), Path("head-neck"))
        >>> done.error, len(list(Path("predicted").glob("*.nii.gz")))
        (None, 7)
    """
    output = Path(output)
    check_formats(options.format, page_3d=options.page_3d)
    check_place(output)
    found = find_scans(Path(scans), output, options.ml, options.part, series=options.series, force=options.force)
    on_found(found)
    _check_output(found, output, options)
    if options.join:
        check_can_share(found, options)
    paths = [model] if isinstance(model, Path | str) else model
    work, of_all = Segmenting(tuple(map(Path, paths)), options, compute), dict[str, Any]()
    ends: dict[int, ScanDone] = {}
    results: list[ScanDone] = []
    try:
        for number, done in _done_by(work, found, output, on_slice, of_all.update):
            ends[number] = done
            on_scan(done)
    finally:  # an interrupted command records what is done, too
        results = [ends[number] for number in sorted(ends)]
        is_whole = len(results) == len(found.scans) or not options.join  # a worker may leave before others end
        if of_all and is_whole and not any(scan.is_only for scan in found.scans):
            _tell_of_all(results, of_all, output, options, found)
    return results


def _tell_of_all(
    results: Sequence[ScanDone], of_all: dict[str, Any], output: Path, options: PredictOptions, found: FoundScans
) -> None:
    """Write the outcomes of many scans, and remove what workers that died meanwhile left of theirs."""
    remove_left_overs(output)
    with checked_first(Unreplaced(output, of_all, options)) if options.join else nullcontext():
        write_manifest(results, of_all, manifest_path(output, options.part), found.reasons())
        if options.triage:
            write_triage(results, triage_path(output, options.part))
        if options.statistics:
            write_cohort_statistics(results, cohort_statistics_path(output, options.part))


def _done_by(
    work: Segmenting,
    found: FoundScans,
    output: Path,
    on_slice: Callable[[Scan, int, int], None],
    on_ready: Callable[[Mapping[str, Any]], None],
) -> Iterator[tuple[int, ScanDone]]:
    """Yield the number and outcome of each scan, from this process, others or a cluster."""
    if work.options.join:
        return share_scans(work.open(), found.scans, output, work.options, on_ready)
    return run_cases(work, found.scans, work.options, on_slice, on_ready, _folders(work, found.scans, output))


def _folders(work: Segmenting, scans: Sequence[Scan], output: Path) -> Folders:
    """Return the folders that all machines must see, without those of packaged models."""
    is_only = any(scan.is_only for scan in scans)
    return Folders((scans[0].path, *(one for one in work.models if one.exists())), output.parent if is_only else output)


def _check_output(found: FoundScans, output: Path, options: PredictOptions) -> None:
    """Refuse outputs that could not be written at the end.

    Raises:
        OutputError: If the result of a single scan, or the manifest of many, cannot be written.
    """
    if any(scan.is_only for scan in found.scans):
        check_places(found.scans[0], options)
        remove_left_overs(found.scans[0].output.parent)
        return
    told = (manifest_path, triage_path, cohort_statistics_path)
    begin_folder(output, [path(output, options.part).name for path in told])


@dataclass(frozen=True)
class Segmenting:
    """The task of segmenting scans, as sent to worker processes.

    Attributes:
        models: Model folders.
        options: The requested options.
        compute: The engine, device and precision that run the networks.
    """

    models: tuple[Path, ...]
    options: PredictOptions
    compute: Compute

    def open(self) -> _Batch:
        """Load the model.

        Raises:
            ModelError: If it cannot be loaded.
            LabelError: If it does not have a requested structure.
            ConfigError: If the options do not fit the model or this machine.
        """
        one, several = self.models[0], len(self.models) > 1
        predictor = open_predictor([load_model(path) for path in self.models] if several else one, self.compute)
        return _Batch.of(predictor, self.options)

    def divided(self, workers: int) -> Segmenting:
        """Return a copy with this worker's share of the memory."""
        return replace(self, compute=self.compute.divided(workers))

    def lost(self, scan: Scan, reason: str) -> ScanDone:
        """Return the outcome of a scan whose workers died."""
        return ScanDone(scan, reason, ())


@dataclass(frozen=True)
class _Batch:
    """The processing of scans, with the model loaded.

    Attributes:
        predictor: The predictor of the model.
        options: The requested options.
        of_all: The settings that every result depends on.
        made_by: Provenance written to results.
    """

    predictor: Predictor
    options: PredictOptions
    of_all: dict[str, Any]
    made_by: MadeBy

    @classmethod
    def of(cls, predictor: Predictor, options: PredictOptions) -> _Batch:
        """Open the engines, so that errors are raised before any scan is read."""
        choices = predictor.choices(options)
        engines = predictor.engines(choices.labels)
        of_all = asked_of_all(choices, engines[0], predictor.sha256, exports_of(predictor.models, engines))
        return cls(predictor, options, of_all, MadeBy(predictor.sha256, model=predictor.name))

    @property
    def about(self) -> dict[str, Any]:
        """The settings that every result depends on."""
        return self.of_all

    def one(self, scan: Scan) -> ScanDone:
        """Segment a scan, without overlap with others."""
        ((course, volume),) = _read_all([scan], self)
        return _write(_segment(course, volume, self, lambda scan, done, total: None), self)

    def all(self, scans: Sequence[Scan], tell: Callable[[Scan, int, int], None]) -> Iterator[ScanDone]:
        """Segment scans in order; unless memory is limited, reading the next and writing the last overlap with it."""
        one_at_a_time = self.predictor.max_memory is not None
        reads = _read_all(scans, self)
        found = (
            _segment(course, volume, self, tell) for course, volume in (reads if one_at_a_time else prefetch(reads))
        )
        write = partial(_write, batch=self)
        yield from map(write, found) if one_at_a_time else write_behind(found, write)


@dataclass
class _ScanInProgress:
    """A scan in progress, and its outcome at the end.

    Attributes:
        scan: The scan.
        stages: Seconds by stage.
        asked: The settings that its result depends on.
        notices: Notices so far.
        not_written: Formats that the scan cannot have, with the reason.
        known: The record of an earlier result, when the scan was begun.
        done: The outcome once it was done before, has failed, or is written; else None.
    """

    scan: Scan
    stages: Stages = field(default_factory=Stages)
    asked: dict[str, Any] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    not_written: dict[str, str] = field(default_factory=dict)
    known: str | None = None
    done: ScanDone | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Turn errors in the block into a failure of this scan, and write nothing over a newer result of it."""
        with checked_first(self._refuse_newer), self._failing():
            yield

    def _refuse_newer(self) -> None:
        refuse_newer(self.scan, self.asked, self.known)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (TomosegError, PermissionError) as error:
            self.done = ScanDone(self.scan, str(error), self.notices)
        except Exception as error:
            reason = refusal(error)
            self.done = self._unforeseen(error) if reason is None else ScanDone(self.scan, reason, self.notices)

    def _unforeseen(self, error: Exception) -> ScanDone:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        told = "".join(traceback.format_exception(error))
        place = write_failure(self.scan, self.asked, reason, told)
        where = "" if place is None else f"; the traceback is in {place}"
        sentence = f"expected no internal error, got {reason}{where}; please report it with the traceback"
        return ScanDone(self.scan, sentence, self.notices, traceback=told)


def _read_all(scans: Sequence[Scan], batch: _Batch) -> Generator[tuple[_ScanInProgress, Volume | None], None, None]:
    for scan in scans:
        course = _ScanInProgress(scan)
        volume = None
        with course.alone():
            volume = _read(course, batch)
        yield course, volume


def _read(course: _ScanInProgress, batch: _Batch) -> Volume | None:
    """Read the scan; None if it was done before or failed."""
    scan, options = course.scan, batch.options
    source = scan.source()
    course.asked, course.known = asked_of(scan, source, options) | batch.of_all, record_text(scan)
    course.done = done_before(scan, course.asked)
    if course.done is not None:
        return None
    with course.stages("read"):
        check_places(scan, options, batch.of_all["structures"])
        if not options.force:
            refuse_known(source, scan.path, "--force")
        volume = read_scan(source, options.series, options.assume_spacing)
        course.notices = volume.warnings
        course.not_written = impossible_formats(volume.source, options.format, scan.path)
        course.notices = preflight(volume, batch.predictor)
        if not (options.force or source.is_dicom):
            refuse_map(course.notices, scan.path, "--force")
        if options.strict:
            refuse_warnings(course.notices, str(scan.path))
    return volume


def _segment(
    course: _ScanInProgress, volume: Volume | None, batch: _Batch, on_slice: Callable[[Scan, int, int], None]
) -> tuple[_ScanInProgress, Volume | None, Prediction | None]:
    prediction = None
    if course.done is None and volume is not None:
        with course.alone():
            remove_file(record_path(course.scan))
            told = partial(on_slice, course.scan)
            prediction = segment(volume, batch.predictor, batch.options, progress=told, notices=course.notices)
            course.notices = prediction.notices
            course.stages.include(prediction.seconds)
    return course, volume, prediction


def _write(way: tuple[_ScanInProgress, Volume | None, Prediction | None], batch: _Batch) -> ScanDone:
    course, volume, prediction = way
    if volume is not None and prediction is not None:
        with course.alone():
            course.done = _written(course, volume, prediction, batch)
    assert course.done is not None  # written, failed, or done before
    return course.done


def _written(course: _ScanInProgress, volume: Volume, prediction: Prediction, batch: _Batch) -> ScanDone:
    """Write all files of a result, its record last."""
    scan, options, stages = course.scan, batch.options, course.stages
    with stages("write"):
        possible = [name for name in options.format if name not in course.not_written]
        written = write_result(prediction.result, prediction.confidence, scan, possible, batch.made_by)
    files = written.files
    course.notices = by_weight((*course.notices, *written.notices))
    if prediction.statistics is not None:
        with stages("statistics"):
            files.append(write_statistics(prediction.statistics, scan))
    if options.preview:
        with stages("preview"):
            files.append(write_preview(prediction.result, volume, scan, options.lang, course.notices))
    if options.page_3d:
        with stages("page"):
            files.append(write_result_page(prediction.result, scan, options.lang))
    written.failed |= course.not_written
    record = record_of(course.asked, written, course.notices, stages.seconds, prediction.self_rating)
    if written.failed == course.not_written:  # other failures are tried again next time
        write_record(scan, record)
    return ScanDone(scan, unwritten_message(written.failed) or None, course.notices, False, record)


class ScanOnItsWay:
    """A scan segmented step by step with a loaded model; each step may run in another thread.

    Args:
        scan: The scan, with the place of its result.
        predictor: The predictor of the model.
        options: The requested options.

    Raises:
        LabelError: If the model does not have a requested structure.
        ConfigError: If the options do not fit the model or this machine.
    """

    def __init__(self, scan: Scan, predictor: Predictor, options: PredictOptions) -> None:
        self._batch = _Batch.of(predictor, options)
        self._course = _ScanInProgress(scan)
        self._volume: Volume | None = None
        self._prediction: Prediction | None = None

    def read(self) -> None:
        """Read the scan."""
        with self._course.alone():
            self._volume = _read(self._course, self._batch)

    def segment(self, on_slice: Callable[[int, int], None]) -> None:
        """Segment the scan, after `read`.

        Args:
            on_slice: Called with the number of slices done and the total number of slices; any `BaseException` it
                raises that is not an `Exception` ends the scan and is passed on.
        """
        way = _segment(self._course, self._volume, self._batch, lambda _, done, total: on_slice(done, total))
        self._prediction = way[2]

    def write(self) -> ScanDone:
        """Write the result, after `segment`, and return the outcome."""
        return _write((self._course, self._volume, self._prediction), self._batch)
