"""A scan that was looked at, in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tomoseg.checks.scan import Inspection
from tomoseg.notices import by_weight, gathered
from tomoseg.terminal.console import error, fail, out, table, warn_all
from tomoseg.workflows.inspect import Inspected, InspectedFolder, json_of

CONTRAST = {"likely": "likely ({ml:g} ml as bright as vessels, {hu} HU)", "not seen": "not seen, which is no proof"}


def show_inspection(found: Inspected) -> None:
    """What a scan is, and what is odd about it."""
    if len(found.series) > 1:
        rows = [
            (number, words, "looked at" if number == found.series_number else "")
            for number, words in enumerate(found.series, start=1)
        ]
        table("Series", ("number", "what", ""), rows)
    if found.inspection is not None:
        table(str(found.path), ("", "seen"), _rows(found, found.inspection))
    if found.error is not None:
        error(found.error)
        return
    warn_all(by_weight(found.notices))
    count = len(found.warnings)
    out.print("Nothing looks wrong." if not count else f"{count} warning{'s' if count > 1 else ''}.")


def show_folder(looked_at: InspectedFolder) -> None:
    """A row a scan, then what is odd about each, and what is left out."""
    rows = [(name, *_row(one)) for name, one in looked_at.scans.items()]
    table(str(looked_at.found.place), ("scan", "voxels", "voxel edges in mm", "part of the body", "warnings"), rows)
    noticed = ((name, notice.without(one.path)) for name, one in looked_at.scans.items() for notice in one.warnings)
    warn_all(gathered(noticed), elsewhere="--json has each scan's own")
    fail({name: one.error for name, one in looked_at.scans.items() if one.error is not None})
    out.print(looked_at.found.summary())


def _row(found: Inspected) -> tuple[str, str, str, int | str]:
    if found.shape is None or found.spacing_mm is None or found.inspection is None:
        return "-", "-", "-", "cannot be read"
    parts = ", ".join(part.name for part in reversed(found.inspection.parts))
    edges = " x ".join(f"{edge:.4g}" for edge in found.spacing_mm)
    return " x ".join(map(str, found.shape)), edges, parts or "-", len(found.warnings)


def show_json(found: Inspected | InspectedFolder) -> None:
    """The same for programs; why it cannot be read for the person as well."""
    out.print(json.dumps(json_of(found), indent=1))
    if isinstance(found, Inspected) and found.error is not None:
        error(found.error)


def _rows(found: Inspected, seen: Inspection) -> list[tuple[str, str]]:
    return [*_grid_rows(found, seen), *_value_rows(seen), *_body_rows(seen), *_contrast_rows(seen)]


def _grid_rows(found: Inspected, seen: Inspection) -> list[tuple[str, str]]:
    assert found.shape is not None  # it was read
    assert found.spacing_mm is not None
    return [
        ("voxels", " x ".join(map(str, found.shape))),
        ("voxel edges", f"{' x '.join(f'{edge:.4g}' for edge in found.spacing_mm)} mm"),
        ("field of view", f"{_whole(seen.extent_mm)} mm"),
        ("axes of the file", f"{seen.axes}, {seen.oblique_degrees:g} degrees oblique"),
    ]


def _value_rows(seen: Inspection) -> list[tuple[str, str]]:
    values, planes = seen.values, seen.planes
    peaks = ["no peak" if hu is None else f"{hu} HU" for hu in (values.air_hu, values.tissue_hu)]
    kinds = (("blank", planes.blank), ("repeated", planes.repeated))
    odd = [f"{len(numbers)} {what}" for what, numbers in kinds if numbers]
    return [
        ("values", f"{values.lowest} to {values.highest}"),
        ("air, soft tissue", ", ".join(peaks)),
        ("bone", "-" if values.bone_share is None else f"{values.bone_share:.1%} of what is not air"),
        ("odd slices", ", ".join(odd) or f"none ({planes.blank_ends} blank at the ends)"),
    ]


def _body_rows(seen: Inspection) -> list[tuple[str, str]]:
    if seen.body_mm is None:
        return []
    parts = [part.name if part.certainty == "likely" else f"{part.name} (unsure)" for part in reversed(seen.parts)]
    return [
        ("body", f"{_whole(seen.body_mm)} mm, as far as it is seen"),
        ("cut at the sides", f"{seen.border_share:.0%} of the picture's border"),
        ("part of the body", ", ".join(parts) or "cannot be told"),
    ]


def _contrast_rows(seen: Inspection) -> list[tuple[str, str]]:
    if seen.contrast is None:
        return []
    words = CONTRAST[seen.contrast.hint].format(ml=seen.contrast.bright_ml, hu=seen.contrast.bright_hu)
    return [("contrast medium", words)]


def _whole(edges_mm: Iterable[float]) -> str:
    return " x ".join(f"{edge:.0f}" for edge in edges_mm)
