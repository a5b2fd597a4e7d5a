"""Statistics of many scans in one table, one row per scan and structure."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tomoseg.evaluation.measure import Measurement
from tomoseg.files.atomic import ODD_NAMES, whole_file
from tomoseg.workflows.prediction_record import ScanDone
from tomoseg.workflows.results import statistics_path

CENTROID = "centroid_mm"
"""The one quantity of three numbers, which take a column each."""


def cohort_statistics_path(output: Path, part: str | None = None) -> Path:
    """Return the path of the table of statistics of many scans.

    Args:
        output: The folder of all results.
        part: Such as `2/8`.
    """
    return output / ("statistics.csv" if part is None else f"statistics_{part.replace('/', '_of_')}.csv")


def columns() -> list[str]:
    """The columns: the scan, then what `Measurement` has.

    Example:
        >>> columns()[:4]
        ['scan', 'structure', 'volume_ml', 'mean_hu']
    """
    names = [field.name for field in fields(Measurement)]
    place = names.index(CENTROID)
    return ["scan", *names[:place], *(f"{CENTROID}_{axis}" for axis in "xyz"), *names[place + 1 :]]


def write_cohort_statistics(results: Sequence[ScanDone], path: Path) -> None:
    """Write the statistics of many scans as one table; missing values are empty, with a `reason`.

    Args:
        results: Made with `statistics`; a scan that was done before is among the lines, a failed one is not.
        path: The CSV file.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8", errors=ODD_NAMES) as stream:
        writer = csv.DictWriter(stream, columns())
        writer.writeheader()
        for done in results:
            if done.record is not None:
                writer.writerows(_lines(done))


def _lines(done: ScanDone) -> Iterator[dict[str, Any]]:
    entries = json.loads(statistics_path(done.scan).read_text(encoding="utf-8"))
    for structure, entry in entries.items():
        centroid = entry.pop(CENTROID) or ("", "", "")
        places = {f"{CENTROID}_{axis}": mm for axis, mm in zip("xyz", centroid, strict=True)}
        yield {"scan": done.scan.name, "structure": structure} | entry | places
