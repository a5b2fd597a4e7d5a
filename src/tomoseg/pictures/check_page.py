"""What the dataset doctor found, on one page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from tomoseg.checks.findings import CheckReport, Finding
from tomoseg.errors import counted
from tomoseg.files.atomic import write_whole_text
from tomoseg.pictures.structure_names import readable

Pictures = Mapping[tuple[str, str | None], bytes]
"""A PNG for each case and structure that something is said of; None for the scan alone."""


def write_check_page(
    report: CheckReport, name: str, path: Path, pictures: Pictures | None = None, most: int | None = None
) -> None:
    """Write the page.

    Args:
        report: What was found.
        name: Of the dataset.
        path: The HTML file to write.
        pictures: What findings look like.
        most: So many findings had their picture drawn at the most, the first; all if omitted.

    Raises:
        OutputError: If the file cannot be written.
    """
    shown = {key: base64.b64encode(picture).decode() for key, picture in (pictures or {}).items()}
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault((finding.level, finding.kind), []).append(finding)
    template = files("tomoseg.pictures").joinpath("check_page.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(template)
    told = {"report": report, "name": name, "groups": groups, "pictures": shown}
    of_cases = sum(bool(finding.case) for finding in report.findings)
    told["unpictured"] = (most, of_cases) if most is not None and of_cases > most else None
    told |= {"readable": readable, "counted": counted}
    write_whole_text(path, page.render(**told))
