"""Conversion of an axial preprocessed dataset to another view, whose slices can then be read directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError
from tomoseg.files.atomic import whole_file, whole_folder
from tomoseg.masks import structure_mask
from tomoseg.preprocessed.format import CASE_RECORD, CASES, INDEX, CaseRecord, DatasetIndex, ScanSize
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.views import ViewName, ordered
from tomoseg.volume import Volume, seen


def turn(
    data: Preprocessed,
    view: ViewName,
    output: Path,
    on_case: Callable[[int, int], bool] = lambda done, total: True,
) -> Preprocessed | None:
    """Write a dataset in the axis order of another view; existing cases are kept.

    Only the grid and the size of each scan are kept; its position in space and the masks on its own voxels are in the
    axial dataset alone.

    Args:
        data: A preprocessed dataset of axial view.
        view: The other view.
        output: The new dataset's folder.
        on_case: Called before each case with the number of cases done and the total number of cases; False stops.

    Returns:
        The new dataset; None if it was stopped.

    Raises:
        DatasetError: If the dataset is not of axial view, or a case cannot be read.
        OutputError: If a file cannot be written.
    """
    if data.grid.view != "axial":
        raise DatasetError(
            f"{data.folder}: expected a dataset of axial view, got {data.grid.view}; preprocess it without --grid.view"
        )
    for done, case in enumerate(data.cases):
        if not on_case(done, len(data.cases)):
            return None
        target = output / CASES / case.name
        if not _is_there(target, case):
            with whole_folder(target, replace=True) as aside:
                _turn_case(case, view, aside, len(data.labels))
    splits = {case.name: case.split for case in data.cases}
    index = DatasetIndex(data.labels, data.grid.model_copy(update={"view": view}), splits)
    with whole_file(output / INDEX) as aside:
        aside.write_text(index.to_json(), encoding="utf-8")
    return Preprocessed(output)


def _is_there(target: Path, case: PreprocessedCase) -> bool:
    """Return True if a case was already converted from its present arrays."""
    if not (target / CASE_RECORD).is_file():
        return False
    return CaseRecord.load(target / CASE_RECORD).fingerprint == _made_from(case)


def _made_from(case: PreprocessedCase) -> str:
    return case.record.contents or case.record.fingerprint


def _turn_case(case: PreprocessedCase, view: ViewName, folder: Path, structures: int) -> None:
    packed = case.masks()

    def mask(channel: int) -> Bool[np.ndarray, "a b n"]:
        return seen(structure_mask(packed, channel), view)

    record = case.record
    volume = Volume.from_array(np.asfortranarray(case.ct()), np.diag([*case.grid_spacing_mm, 1.0])).seen(view)
    given = CaseInput(
        case.name,
        record.patient,
        volume,
        mask,
        record.annotated,
        structures,
        _made_from(case),
        record.warnings,
        record.parts or (),
    )
    written = write_case(given, folder, GridConfig(mode="native", crop="none", view=view), keep_native=False, threads=1)
    scan = ScanSize(ordered(case.scan.shape, view), ordered(case.scan.spacing_mm, view))
    replace(written, ceiling=record.ceiling, tissue_hu=record.tissue_hu, turned_from=scan).save(folder / CASE_RECORD)
