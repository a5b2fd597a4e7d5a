"""Segmentation of a job's scan with a model that stays loaded, as `tomoseg predict` does, and its record."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tomoseg.errors import ModelError
from tomoseg.files.atomic import write_whole_text
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import open_predictor
from tomoseg.notices import Notice
from tomoseg.options import Compute, PredictOptions
from tomoseg.server.jobs import unforeseen
from tomoseg.server.offers import of_structure
from tomoseg.server.records import LABEL_MAP, RESULT, Result, ResultFile, ResultStructure, Told
from tomoseg.workflows.predict import ScanOnItsWay
from tomoseg.workflows.prediction_record import ScanDone
from tomoseg.workflows.results import statistics_path
from tomoseg.workflows.scans import Scan

_READ, _SEGMENTED = 0.05, 0.95
"""Progress at which segmentation begins and ends."""

Tell = Callable[[str, float, float | None], None]
"""Takes the stage, the progress from 0 to 1, and the seconds left."""


@dataclass
class Models:
    """Models by name, each loaded on first use and kept.

    Attributes:
        folders: Their folders.
        compute: Engine, device and precision.
        trained: Folder of models from trainings since the start.
    """

    folders: Mapping[str, Path]
    compute: Compute
    trained: Path = Path()
    _loaded: dict[str, Predictor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Predictor:
        """Return the predictor of a model.

        Raises:
            ModelError: If it is missing or damaged; the message leaves out its path.
        """
        if name not in self._loaded:
            folder = self.folders.get(name, self.trained / name)
            try:
                self._loaded[name] = open_predictor(folder, self.compute)
            except ModelError as error:
                text = str(error).replace(f"{folder}: ", "").replace(str(folder), "the model")
                what = f"model: expected {name!r} as it was when the server was started, got: {text.partition('; ')[0]}"
                raise ModelError(f"{what}; choose another, or have the server started again with it") from error
        return self._loaded[name]


class UploadOnItsWay:
    """Segmentation of an upload, whose files and `RESULT` are written into a folder.

    Args:
        scan: A file or a folder of an upload.
        folder: The folder of the result.
        predictor: The predictor of the model.
        options: The requested options; statistics are always computed.

    Raises:
        LabelError: If the model does not know a structure.
        ConfigError: If the request cannot be met.
    """

    def __init__(self, scan: Path, folder: Path, predictor: Predictor, options: PredictOptions) -> None:
        self._folder, self._predictor = folder, predictor
        self._options = options.model_copy(update={"statistics": True})
        place = Scan("scan", scan, folder / LABEL_MAP if options.ml else folder, is_only=True)
        self._way = ScanOnItsWay(place, predictor, self._options)

    def read(self) -> None:
        """Read the scan."""
        self._way.read()

    def segment(self, tell: Tell) -> None:
        """Segment it, once it is read.

        Args:
            tell: Called with progress; a `BaseException` that is no `Exception` ends the scan and is raised.
        """
        self._way.segment(_Slices(tell))

    def write(self) -> ScanDone:
        """Write its result, once it is segmented, and return its outcome, as of `tomoseg predict`."""
        done = self._way.write()
        if done.record is not None and done.error is None:
            result = _result(done, self._predictor, self._options, self._folder)
            write_whole_text(self._folder / RESULT, result.model_dump_json())
        return done


class _Slices:
    """Progress callback for slices that reports stage, progress and seconds left.

    Args:
        tell: Called with these.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell, self._began = tell, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if done <= 1:
            self._began = time.monotonic()
        taken = time.monotonic() - self._began
        left = taken / (done - 1) * (total - done) if done > 1 else None
        stage = "segment" if done < total else "write"
        self._tell(stage, _READ + (_SEGMENTED - _READ) * done / total, left)


def told(notices: Sequence[Notice], scan: Path) -> list[Told]:
    """Return notices without the path of the upload.

    Args:
        notices: The notices of a scan.
        scan: Path of the scan.
    """
    return [Told(text=without_place(str(one), scan), kind=one.kind, level=one.level) for one in notices]


def reason_of(done: ScanDone, scan: Path) -> str:
    """Return why a scan failed, without the server's paths and without messages of unexpected errors.

    Args:
        done: The outcome, an error.
        scan: Path of the scan.
    """
    if done.traceback is None:
        return without_place(done.error or "", scan)
    found = re.match(r"expected no internal error, got (\w+)", done.error or "")
    return unforeseen("another" if found is None else found[1])


def without_place(text: str, scan: Path) -> str:
    """Return a message without the path of the upload.

    Args:
        text: The message.
        scan: Path of the scan.

    Example:
        >>> without_place("/x/1.dcm: expected CT slices, got none; check the path", Path("/x/1.dcm"))
        'expected CT slices, got none; check the path'
    """
    return text.replace(f"{scan}: ", "").replace(str(scan), "the scan")


def _result(done: ScanDone, predictor: Predictor, options: PredictOptions, folder: Path) -> Result:
    record = done.record
    assert record is not None
    measured = json.loads(statistics_path(done.scan).read_text(encoding="utf-8"))
    rated = (record.get("self_rating") or {}).get("structures", {})
    files = [ResultFile(name=name, bytes=(folder / name).stat().st_size) for name in record["files"]]
    names = {one.name for one in files}
    structures = []
    for name, entry in measured.items():
        file = f"{name}.nii.gz"
        values = {key: value for key, value in entry.items() if key != "reason"}
        structures.append(
            ResultStructure(
                **of_structure(predictor.record.labels[name]),
                **values,
                file=file if file in names else None,
                present=bool(entry["volume_ml"]),
                expected_dice=rated.get(name),
            )
        )
    return Result(
        job="",
        model=predictor.name,
        seconds=record["seconds"],
        structures=structures,
        warnings=told(done.warnings, done.scan.path),
        files=files,
    )
