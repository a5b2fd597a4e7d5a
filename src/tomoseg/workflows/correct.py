"""Corrections of masks and verdicts on cases, made while viewing them."""

from __future__ import annotations

import csv
import getpass
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool

from tomoseg.datasets.corrections import DIGITS, Correction, versions
from tomoseg.errors import GridError, InputError
from tomoseg.files.asides import locked
from tomoseg.files.atomic import ODD_NAMES, errors_told, whole_file, whole_folder
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.no_scan import CORRECTION
from tomoseg.files.results import write_masks
from tomoseg.formats import FormatName
from tomoseg.labels import LabelSet, Structure
from tomoseg.segmentation import Segmentation
from tomoseg.version import __version__
from tomoseg.volume import SourceGrid
from tomoseg.workflows.results import write_result
from tomoseg.workflows.scans import Scan

REVIEWS = "reviews.csv"

BY_A_PERSON = MadeBy("none", model="corrected by a person", kind="SEMIAUTOMATIC")
"""Provenance of corrected masks in result files."""

Verdict = Literal["right", "needs work"]

_COLUMNS = ("case", "verdict", "who", "when")


def account_name() -> str:
    """Return the name of the user account; empty if it is unknown."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def now() -> str:
    """Return the current time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save_correction(
    folder: Path,
    structure: Structure,
    mask: Bool[np.ndarray, "x y z"],
    grid: SourceGrid,
    who: str,
    formats: Sequence[FormatName] = (),
) -> Correction:
    """Write a corrected mask as the next version of its case.

    Args:
        folder: The folder of the case's corrections; made if it is missing.
        structure: Name of the structure.
        mask: The mask on the scan's voxels.
        grid: Grid of the scan.
        who: Name of the person who corrected it.
        formats: Formats to write besides NIfTI.

    Raises:
        GridError: If the shape of the mask differs from the scan's.
        OutputError: If it cannot be written.
        TomosegError: If a format cannot be written.
    """
    if mask.shape != grid.canonical_shape:
        raise GridError(
            f"expected a mask on the scan's voxels {grid.canonical_shape}, got {mask.shape}; reload the page"
        )
    segmentation = Segmentation.from_packed(mask.view(np.uint8)[None], LabelSet((structure,)), grid)
    with _next_version(folder) as path, whole_folder(path, replace=True) as aside:
        made = Correction(structure.name, int(path.name), path / f"{structure.name}.nii.gz", who, now())
        write_masks(segmentation, aside)
        others = [name for name in formats if name != "nifti"]
        if others:
            write_result(segmentation, None, Scan(path.name, folder, aside), others, BY_A_PERSON)
        record = {"structure": structure.name, "version": made.version, "who": who, "when": made.when}
        voxels = int(np.count_nonzero(mask))
        text = json.dumps(record | {"voxels": voxels, "tomoseg": __version__}, indent=1, ensure_ascii=False)
        (aside / CORRECTION).write_text(text, encoding="utf-8")
    return made


@contextmanager
def _next_version(folder: Path) -> Iterator[Path]:
    """Make the folder of the next version, empty, so that nobody else takes its number; it goes if it stays empty.

    Raises:
        OutputError: If it cannot be made.
    """
    with errors_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        there = versions(folder)
        number = int(there[-1].name) + 1 if there else 1
        while True:
            path = folder / f"{number:0{DIGITS}}"
            with suppress(FileExistsError):  # what somebody else is writing
                path.mkdir()
                break
            number += 1
    try:
        yield path
    finally:
        with suppress(OSError):  # something is in it
            path.rmdir()


def read_reviews(folder: Path) -> dict[str, Verdict]:
    """Return the verdicts, by name of the case.

    Args:
        folder: The folder of the corrections.

    Raises:
        InputError: If the file of verdicts is none.
    """
    return {row["case"]: _verdict(row["verdict"]) for row in _rows(folder / REVIEWS)}


def _verdict(text: str) -> Verdict:
    return "right" if text == "right" else "needs work"


def save_review(folder: Path, case: str, verdict: Verdict | None, who: str) -> None:
    """Save the verdict on a case, replacing a former one; None removes it.

    Args:
        folder: The folder of the corrections; made if it is missing.
        case: Name of the case.
        verdict: The verdict, or None.
        who: Name of the reviewer.

    Raises:
        InputError: If the file of verdicts is none.
        OutputError: If it cannot be written.
    """
    path = folder / REVIEWS
    with errors_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, waits=True):  # others may review the same cases in another process
        rows = [row for row in _rows(path) if row["case"] != case]
        if verdict is not None:
            rows.append({"case": case, "verdict": verdict, "who": who, "when": now()})
        with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8", errors=ODD_NAMES) as stream:
            writer = csv.DictWriter(stream, _COLUMNS, lineterminator=os.linesep)
            writer.writeheader()
            writer.writerows(rows)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=ODD_NAMES) as stream:
            rows = list(csv.DictReader(stream))
        return [{name: row[name] or "" for name in _COLUMNS} for row in rows]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: expected the columns {', '.join(_COLUMNS)}, got: {error}; move this file away"
        ) from None
