"""Many scans ranked by the Dice that may be expected of them: which to look at first."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tomoseg.files.atomic import whole_file
from tomoseg.workflows.prediction_record import ScanDone


def triage_path(output: Path, part: str | None = None) -> Path:
    """Where many scans are ranked.

    Args:
        output: The folder of all results.
        part: Such as `2/8`.
    """
    return output / ("triage.csv" if part is None else f"triage_{part.replace('/', '_of_')}.csv")


@dataclass(frozen=True)
class Rank:
    """What may be expected of a scan.

    Attributes:
        scan: Its name.
        dice: The mean over the structures that were found.
        worst: The structure with the least.
        least: Of that one.
        found: Structures that were found; an organ that was missed is in no mean.
    """

    scan: str
    dice: float | None
    worst: str
    least: float | None
    found: int


def ranked(results: Sequence[ScanDone]) -> list[Rank]:
    """What may be expected of each scan, the one to be looked at first first.

    Args:
        results: Made with `triage`; scans in which nothing was found come first, failed ones not at all.
    """
    rows = []
    for result in results:
        if result.record is not None and "expected_dice" in result.record:
            found = result.record["expected_dice"]
            known = {name: value for name, value in found["structures"].items() if value is not None}
            worst = min(known, key=lambda name: known[name], default="")
            rows.append(Rank(result.scan.name, found["mean"], worst, known.get(worst), len(known)))
    return sorted(rows, key=lambda row: -1.0 if row.dice is None else row.dice)


def write_triage(results: Sequence[ScanDone], path: Path) -> None:
    """Write the ranking as a table.

    Args:
        results: As for `ranked`.
        path: The CSV file.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("scan", "expected_dice", "worst_structure", "expected_dice_of_it", "structures_found"))
        writer.writerows((r.scan, _four(r.dice), r.worst, _four(r.least), r.found) for r in ranked(results))


def _four(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
