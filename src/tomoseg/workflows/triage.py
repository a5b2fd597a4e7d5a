"""Ranking of scans by the model's self-rating of its masks, to decide which to review first."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomoseg.files.atomic import ODD_NAMES, whole_file
from tomoseg.inference.self_rating import UNLIKE
from tomoseg.notices import UNLIKE_TRAINING
from tomoseg.workflows.prediction_record import ScanDone

COLUMNS = (
    *("rank", "scan", "self_rating", "lowest_structure", "self_rating_of_it", "structures_found", "no_rating_because"),
)


def triage_path(output: Path, part: str | None = None) -> Path:
    """Return the path of the ranking of many scans.

    Args:
        output: The folder of all results.
        part: The part, such as `2/8`.
    """
    return output / ("triage.csv" if part is None else f"triage_{part.replace('/', '_of_')}.csv")


@dataclass(frozen=True)
class Rank:
    """The model's self-rating of a scan.

    Attributes:
        scan: Name of the scan.
        rating: Mean over the structures found; None if there are none, or the scan is unlike the training scans.
        lowest: The structure of lowest rating.
        least: Rating of that structure.
        found: Number of structures found; missed ones do not count in the mean.
        reason: Reason why there is no rating; or empty.
        calibrated: Whether the rating is an expected Dice.
    """

    scan: str
    rating: float | None
    lowest: str
    least: float | None
    found: int
    reason: str
    calibrated: bool = False


def ranked(results: Sequence[ScanDone]) -> list[Rank]:
    """Rank scans by the model's self-rating, the one to review first at the top.

    Args:
        results: Made with `triage`; scans without a rating come first, since they are unlike the training scans or
            nothing was found in them, failed ones not at all.
    """
    rows = [_rank(result, result.record) for result in results if result.record is not None]
    known = [row for row in rows if row is not None]
    return sorted(known, key=lambda row: (row.rating is not None, row.reason != UNLIKE, row.rating or 0.0))


def _rank(result: ScanDone, record: Mapping[str, Any]) -> Rank | None:
    """Return the rank of a scan; None if no rating was requested. Older records call it a Dice, and have one always."""
    found = record.get("self_rating", record.get("expected_dice"))
    if found is None:
        return None
    known = {name: value for name, value in found["structures"].items() if value is not None}
    number, calibrated = found.get("found", len(known)), found.get("calibrated", False)
    if any(notice.kind in UNLIKE_TRAINING for notice in result.warnings):
        return Rank(result.scan.name, None, "", None, number, UNLIKE, calibrated)
    lowest = min(known, key=lambda name: known[name], default="")
    reason = "" if known else "no structure was found"
    return Rank(result.scan.name, found["mean"], lowest, known.get(lowest), number, reason, calibrated)


def write_triage(results: Sequence[ScanDone], path: Path) -> None:
    """Write the ranking as a table.

    Args:
        results: Outcomes, as for `ranked`.
        path: The CSV file.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8", errors=ODD_NAMES) as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for place, row in enumerate(ranked(results), start=1):
            writer.writerow((place, row.scan, _four(row.rating), row.lowest, _four(row.least), row.found, row.reason))


def _four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
