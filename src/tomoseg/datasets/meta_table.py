"""The table `meta.csv` of a dataset, with the split and the patient of each case.

It is separated by semicolons or commas, with or without a byte order mark. The column `image_id` names the case;
`split` and `patient_id` are optional; other columns are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tomoseg.datasets.cases import Case, Split
from tomoseg.errors import DatasetError, counted
from tomoseg.labels import composed

META_FILE = "meta.csv"

_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def apply_meta(cases: Sequence[Case], path: Path, left_out: Sequence[str] = ()) -> tuple[list[Case], list[str]]:
    """Set the splits and patients of cases from a table.

    Args:
        cases: The cases in the dataset's folder.
        path: The table.
        left_out: Names of folders that exist but hold no usable case.

    Returns:
        The changed cases, and warnings about rows without a case, as when only part of a dataset was downloaded.

    Raises:
        DatasetError: If the table cannot be read, has no `image_id`, names a case twice, names an unknown split
            or none of the cases, or contradicts a split's folder.
    """
    rows = _rows(path)
    known = rows.keys() & {case.name for case in cases}
    if not known:
        raise DatasetError(f"{path}: expected names of case folders in the column image_id, got none; correct it")
    absent = sorted(rows.keys() - known - set(left_out))
    listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    warnings = (
        [f"{path}: {counted(len(absent), 'listed case does', 'listed cases do')} not exist: {listed}."]
        if absent
        else []
    )
    return [_with_row(case, rows.get(case.name, {}), path) for case in cases], warnings


def _with_row(case: Case, row: dict[str, str], path: Path) -> Case:
    text = row.get("split", "")
    split = _SPLITS.get(text.lower())
    if text and split is None:
        raise DatasetError(
            f"{path}: expected train, val or test as the split, got {text!r} for {case.name}; correct it"
        )
    if split and case.split and split != case.split:
        raise DatasetError(
            f"{path}: expected the same split as the folder's, got {split} for {case.name} in "
            f"{case.ct.parent}; correct one"
        )
    return replace(case, split=split or case.split, patient=row.get("patient_id") or case.patient)


def _stripped(row: dict[Any, Any]) -> dict[str, str]:
    """Strip spaces from the cells of a row, and drop cells beyond the named columns."""
    return {key.strip(): composed((value or "").strip()) for key, value in row.items() if isinstance(key, str)}


def _rows(path: Path) -> dict[str, dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: expected a table in UTF-8, got: {error}; save it as UTF-8") from None
    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] else ","
    rows: dict[str, dict[str, str]] = {}
    try:
        for row in map(_stripped, csv.DictReader(lines, delimiter=delimiter)):
            name = row.get("image_id")
            if name is None:
                raise DatasetError(
                    f"{path}: expected a column image_id, got {', '.join(row)}; rename the column with the cases' names"
                )
            if name in rows:
                raise DatasetError(f"{path}: expected each case once, got {name} twice; remove one row")
            rows[name] = row
    except csv.Error as error:
        raise DatasetError(f"{path}: expected a table separated by semicolons, got: {error}; correct it") from None
    return rows
