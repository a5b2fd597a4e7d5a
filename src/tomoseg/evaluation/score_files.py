"""Scores as a table in a file, a line a case and structure; what is written can be read and compared."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tomoseg.errors import InputError
from tomoseg.evaluation.scores import CaseScore, StructureScore
from tomoseg.files.atomic import whole_file

SCORES = "scores.csv"

MEASURED = ("dice", "iou", "surface_dice", "hd95_mm", "surface_distance_mm", "reference_ml", "predicted_ml")
DERIVED = ("volume_error_ml", "volume_error_percent", "false_positive_ml")
COLUMNS = ("case", "patient", "spacing_mm", "structure", "outcome", *MEASURED, *DERIVED)


def write_scores(scores: Sequence[CaseScore], path: Path) -> None:
    """Write scores to the last digit, so that comparing them compares them; what cannot be said is left empty.

    Args:
        scores: One entry a case.
        path: A `.csv` file.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case in scores:
            spacing = " ".join(repr(float(edge)) for edge in case.spacing_mm)
            for score in case.structures:
                numbers = (getattr(score, name) for name in (*MEASURED, *DERIVED))
                texts = ("" if value is None else repr(float(value)) for value in numbers)
                writer.writerow([case.case, case.patient or case.case, spacing, score.structure, score.outcome, *texts])


def read_scores(path: Path) -> list[CaseScore]:
    """Read what `write_scores` wrote.

    Args:
        path: The file, or the folder that it lies in.

    Raises:
        InputError: If it is missing or no such table.
    """
    file = path / SCORES if path.is_dir() else path
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
        cases: dict[tuple[str, str, tuple[float, ...]], list[StructureScore]] = {}
        for row in rows:
            numbers = {name: float(row[name]) if row[name] else None for name in MEASURED}
            score = StructureScore(structure=row["structure"], **numbers)  # type: ignore[arg-type]
            spacing_mm = tuple(map(float, row["spacing_mm"].split()))
            cases.setdefault((row["case"], row["patient"], spacing_mm), []).append(score)
    except OSError as error:
        raise InputError(f"{file}: expected scores, got: {error.strerror}; name a folder of --output") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: expected the columns of {SCORES}, got: {error}; evaluate anew") from None
    return [
        CaseScore(case, tuple(structures), patient, spacing_mm)
        for (case, patient, spacing_mm), structures in cases.items()
    ]
