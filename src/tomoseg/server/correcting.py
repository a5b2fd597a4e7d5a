"""Process that saves a corrected mask of a job on its scan's grid, or writes the corrected result."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tomoseg.datasets.corrections import latest
from tomoseg.errors import LabelError, unknown_name_message
from tomoseg.files.atomic import whole_folder, write_whole_text
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet, Structure
from tomoseg.options import PredictOptions
from tomoseg.server.apart import answer
from tomoseg.server.corrections import Corrected, result_folder
from tomoseg.server.records import LABEL_MAP, RESULT, Result, ResultFile
from tomoseg.server.scene_answers import unpacked_mask
from tomoseg.workflows.correct import save_correction
from tomoseg.workflows.corrected_result import CorrectedResult, write_corrected
from tomoseg.workflows.scans import Scan
from tomoseg.workflows.view import find_views


def save_mask(corrected: Corrected, structure: str, who: str, packed: bytes) -> int:
    """Save a mask as the next version; returns its number.

    Args:
        corrected: The job.
        structure: Name of the structure.
        who: Name of the person who corrected it.
        packed: The mask, as `unpacked_mask` takes it.

    Raises:
        GridError: If it has another number of voxels than the scan.
        InputError: If it is not a mask, or the scan cannot be read.
        LabelError: If the job has no such structure.
        OutputError: If it cannot be written.
    """
    known, options = _structures(_known(corrected)), PredictOptions(**corrected.options)
    if structure not in known:
        raise LabelError(unknown_name_message(structure, known.names))
    grid = read_scan(Path(corrected.scan), options.series, options.assume_spacing).source
    mask = unpacked_mask(packed, grid.canonical_shape)
    return save_correction(corrected.folder, known[structure], mask, grid, who, options.format).version


def write_result(corrected: Corrected) -> None:
    """Write the result with the last correction of each structure, with its record.

    Args:
        corrected: The job.

    Raises:
        TomosegError: If it cannot be read or written.
    """
    options, scan, result = PredictOptions(**corrected.options), Path(corrected.scan), Path(corrected.result)
    known = _known(corrected)
    volume = read_scan(scan, options.series, options.assume_spacing)
    (case,) = find_views(scan, (result / LABEL_MAP if options.ml else result,)).cases
    with whole_folder(result_folder(corrected.folder)) as aside:
        place = Scan("scan", scan, aside / LABEL_MAP if options.ml else aside, is_only=True)
        corrections = latest(corrected.folder)
        done = write_corrected(case, corrections, _structures(known), volume, place, options.format)
        write_whole_text(aside / RESULT, _record(known, done, aside).model_dump_json())


def _known(corrected: Corrected) -> Result:
    """Read the job's result."""
    return Result.model_validate_json((Path(corrected.result) / RESULT).read_text(encoding="utf-8"))


def _structures(known: Result) -> LabelSet:
    """Return the structures of a result."""
    total = LabelSet.total()
    found = []
    for one in known.structures:
        like = total[one.name] if one.name in total else Structure(one.id, one.name)
        found.append(replace(like, id=one.id, group=one.group, colour=one.colour))
    return LabelSet(tuple(found))


def _record(known: Result, done: CorrectedResult, folder: Path) -> Result:
    """Return the result's record with new measurements; corrected structures have no expected Dice."""
    measured = {one.structure: asdict(one) for one in done.measured}
    structures = []
    for one in known.structures:
        values = {name: value for name, value in measured[one.name].items() if name in type(one).model_fields}
        more = {"present": bool(values["volume_ml"]), "expected_dice": None}
        structures.append(one.model_copy(update=values | more))
    files = [ResultFile(name=name, bytes=(folder / name).stat().st_size) for name in done.files]
    return known.model_copy(update={"structures": structures, "files": files, "seconds": {}})


def main(argv: list[str]) -> None:
    """Save a mask from standard input, or write the result.

    Args:
        argv: The task as JSON.
    """
    given: dict[str, Any] = json.loads(argv[0])
    corrected = Corrected(**{name: given[name] for name in Corrected.__dataclass_fields__})
    do: Callable[[], int | None] = partial(write_result, corrected)
    if given["do"] == "save":
        do = partial(save_mask, corrected, given["structure"], given["who"], sys.stdin.buffer.read())
    answer(lambda: {"version": do()}, {f"{corrected.scan}: ": "", corrected.scan: "the scan", corrected.job: "the job"})


if __name__ == "__main__":
    main(sys.argv[1:])
