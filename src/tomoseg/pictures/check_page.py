"""Report of the dataset check as a self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tomoseg.checks.findings import CheckReport, Finding, kind_in_words
from tomoseg.files.atomic import write_whole_text
from tomoseg.language.sentences import sentence
from tomoseg.language.words import millilitres, say, say_many, short, spoken
from tomoseg.pictures.structure_names import readable
from tomoseg.settings import Language

Pictures = Mapping[tuple[str, str | None], bytes]
"""PNG by case and structure of a finding; a structure of None means that the finding concerns the scan."""


def write_check_page(
    report: CheckReport,
    name: str,
    path: Path,
    pictures: Pictures | None = None,
    most: int | None = None,
    lang: Language | None = None,
) -> None:
    """Write the page.

    Args:
        report: The findings.
        name: Name of the dataset.
        path: The HTML file to write.
        pictures: Pictures of the findings; if omitted, none.
        most: Number of findings that were drawn at most, the first ones; if omitted, all were drawn.
        lang: Language of the page; if omitted, this process's.

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
    told |= _words(report, lang)
    write_whole_text(path, page.render(**told))


def _words(report: CheckReport, lang: Language | None) -> dict[str, Any]:
    """Return the texts and translation functions of the template."""
    edges = zip("xyz", report.holdings.spacing_mm or (), strict=False)
    return {
        "lang": lang or spoken(),
        "say": lambda text, /, **values: say(text, lang, **values),
        "sentence": lambda text: sentence(text, lang),
        "millilitres": lambda volume: millilitres(volume, lang),
        "kind_in_words": lambda kind: kind_in_words(kind, lang),
        "readable": lambda structure: readable(structure, lang or spoken()),
        "counts": _counts(report, lang),
        "left_out": say_many(len(report.left_out), "1 case left out", "{count} cases left out", lang),
        "lacking": _lacking(report, lang),
        "edges": ", ".join(f"{axis} {_range(ends, lang)}" for axis, ends in edges),
    }


def _counts(report: CheckReport, lang: Language | None) -> list[str]:
    return [
        say_many(report.cases, "1 case", "{count} cases", lang),
        say_many(report.masks, "1 mask", "{count} masks", lang),
        say_many(report.errors, "1 error", "{count} errors", lang),
        say_many(len(report.findings) - report.errors, "1 warning", "{count} warnings", lang),
    ]


def _lacking(report: CheckReport, lang: Language | None) -> list[str]:
    """Return a line for each case that lacks annotations: its name, and the structures'."""
    cases = report.holdings.lacking.items()
    return [
        say("{name}: {text}", lang, name=case, text=", ".join(readable(name, lang or spoken()) for name in names))
        for case, names in cases
    ]


def _range(ends: tuple[float, float], lang: Language | None) -> str:
    return say("{low} to {high}", lang, low=short(ends[0], lang), high=short(ends[1], lang))
