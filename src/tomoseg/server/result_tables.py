"""Statistics of a result's structures, as rows and as CSV."""

from __future__ import annotations

import csv
import io

from tomoseg.server.records import Result, ResultStructure

_COLUMNS = ("structure", "present", "volume_ml", "mean_hu", "median_hu", "std_hu", "centroid_mm", "touches_border")


def statistics_row(structure: ResultStructure) -> dict[str, object]:
    """Return a structure's statistics.

    Args:
        structure: A structure of a result.
    """
    known = structure.model_dump()
    return {name: known["name"] if name == "structure" else known[name] for name in _COLUMNS}


def statistics_table(result: Result) -> str:
    """Return the statistics of all structures as CSV.

    Args:
        result: The result of a job.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    flat = [name for name in _COLUMNS if name != "centroid_mm"]
    lines.writerow([*flat, "x_mm", "y_mm", "z_mm"])
    for one in result.structures:
        row = statistics_row(one)
        lines.writerow([*(row[name] for name in flat), *(one.centroid_mm or (None, None, None))])
    return text.getvalue()
