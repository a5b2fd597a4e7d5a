"""Scores as a CSV table with one line per case and structure."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tomoseg.errors import InputError
from tomoseg.evaluation.metrics import METRICS, metrics_in
from tomoseg.evaluation.scores import CaseScore, StructureScore
from tomoseg.files.atomic import ODD_NAMES, whole_file

SCORES = "scores.csv"

FIRST = (
    *("case", "patient", "spacing_mm", "structure", "outcome"),
    *("dice", "iou", "surface_dice", "hd95_mm", "surface_distance_mm", "reference_ml", "predicted_ml"),
    *("volume_error_ml", "volume_error_percent", "false_positive_ml"),
)
"""Columns that are always there, in this order; other metrics follow them."""

VOLUMES = ("reference_ml", "predicted_ml", "false_positive_ml")


def write_scores(scores: Sequence[CaseScore], path: Path) -> None:
    """Write scores in full precision, so that they can be read back and compared; missing values are left empty.

    Args:
        scores: One entry per case.
        path: The CSV file to write.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8", errors=ODD_NAMES) as stream:
        columns = (*FIRST, *(name for name in metrics_in(scores) if name not in FIRST))
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for case in scores:
            spacing = " ".join(repr(float(edge)) for edge in case.spacing_mm)
            where = {"case": case.case, "patient": case.patient or case.case, "spacing_mm": spacing}
            for score in case.structures:
                numbers = {name: getattr(score, name) for name in VOLUMES} | dict(score.values)
                what = {"structure": score.structure, "outcome": score.outcome}
                texts = {name: repr(float(value)) for name, value in numbers.items() if value is not None}
                writer.writerow(where | what | texts)


def read_scores(path: Path) -> list[CaseScore]:
    """Read scores written by `write_scores`.

    Args:
        path: The file, or its folder.

    Raises:
        InputError: If it cannot be read, or is not such a table.
    """
    file = path / SCORES if path.is_dir() else path
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
        metrics = [name for name in METRICS if name in FIRST or name in (reader.fieldnames or ())]
        cases: dict[tuple[str, str, tuple[float, ...]], list[StructureScore]] = {}
        for row in rows:
            case = (row["case"], row["patient"], tuple(map(float, row["spacing_mm"].split())))
            cases.setdefault(case, []).append(_score_of(row, metrics))
    except OSError as error:
        raise InputError(f"{file}: expected scores, got: {error.strerror}; name a folder of --output") from None
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{file}: expected the columns of {SCORES}, got: {error}; evaluate again") from None
    return [
        CaseScore(case, tuple(structures), patient, spacing_mm)
        for (case, patient, spacing_mm), structures in cases.items()
    ]


def _score_of(row: Mapping[str, str], metrics: Sequence[str]) -> StructureScore:
    values = {name: float(row[name]) if row[name] else None for name in metrics}
    return StructureScore(row["structure"], float(row["reference_ml"]), float(row["predicted_ml"]), values)
