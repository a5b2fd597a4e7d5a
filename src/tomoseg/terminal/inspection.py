"""A scan that was looked at, in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tomoseg.checks.scan import Inspection
from tomoseg.language.words import all_later, later, percent, pointed, say, say_many, short
from tomoseg.notices import by_weight, gathered
from tomoseg.terminal.console import error, fail, out, table, warn_all
from tomoseg.terminal.found import scans_in_words
from tomoseg.workflows.inspect import Inspected, InspectedFolder, json_of

CONTRAST = {
    "likely": later("likely ({ml} ml as bright as vessels, {hu} HU)"),
    "not seen": later("none seen, which proves nothing"),
}
all_later("legs", "pelvis", "abdomen", "thorax", "neck", "head")


def show_inspection(found: Inspected) -> None:
    """What a scan is, and what is odd about it."""
    if len(found.series) > 1:
        rows = [
            (number, words, say("yes") if number == found.series_number else "")
            for number, words in enumerate(found.series, start=1)
        ]
        table(say("Series"), (say("number"), say("series"), say("inspected")), rows)
    if found.inspection is not None:
        table(str(found.path), (say("property"), say("value")), _rows(found, found.inspection))
    if found.error is not None:
        error(found.error)
        return
    warn_all(by_weight(found.notices))
    count = len(found.warnings)
    out.print(say_many(count, "1 warning.", "{count} warnings.") if count else say("Nothing looks wrong."))


def show_folder(looked_at: InspectedFolder) -> None:
    """A row a scan, then what is odd about each, and what is left out."""
    rows = [(name, *_row(one)) for name, one in looked_at.scans.items()]
    columns = (say("scan"), say("voxels"), say("voxel edges in mm"), say("part of the body"), say("warnings"))
    table(str(looked_at.found.place), columns, rows)
    noticed = ((name, notice.without(one.path)) for name, one in looked_at.scans.items() for notice in one.warnings)
    warn_all(gathered(noticed), elsewhere=say("--json lists those of each scan"))
    fail({name: one.error for name, one in looked_at.scans.items() if one.error is not None})
    out.print(scans_in_words(looked_at.found))


def _row(found: Inspected) -> tuple[str, str, str, int | str]:
    if found.shape is None or found.spacing_mm is None or found.inspection is None:
        return "-", "-", "-", say("cannot be read")
    parts = ", ".join(say(part.name) for part in reversed(found.inspection.parts))
    edges = " x ".join(pointed(f"{edge:.4g}") for edge in found.spacing_mm)
    return " x ".join(map(str, found.shape)), edges, parts or "-", len(found.warnings)


def show_json(found: Inspected | InspectedFolder) -> None:
    """The same for programs; why it cannot be read for the person as well."""
    out.print(json.dumps(json_of(found), indent=1), soft_wrap=True)
    if isinstance(found, Inspected) and found.error is not None:
        error(found.error)


def _rows(found: Inspected, seen: Inspection) -> list[tuple[str, str]]:
    return [*_grid_rows(found, seen), *_value_rows(seen), *_body_rows(seen), *_contrast_rows(seen)]


def _grid_rows(found: Inspected, seen: Inspection) -> list[tuple[str, str]]:
    assert found.shape is not None  # it was read
    assert found.spacing_mm is not None
    return [
        (say("voxels"), " x ".join(map(str, found.shape))),
        (say("voxel edges"), f"{' x '.join(pointed(f'{edge:.4g}') for edge in found.spacing_mm)} mm"),
        (say("field of view"), f"{_whole(seen.extent_mm)} mm"),
        (
            say("axes of the file"),
            say("{axes}, {angle} degrees oblique", axes=seen.axes, angle=pointed(f"{seen.oblique_degrees:g}")),
        ),
    ]


def _value_rows(seen: Inspection) -> list[tuple[str, str]]:
    values, planes = seen.values, seen.planes
    peaks = [say("no peak") if hu is None else say("{hu} HU", hu=hu) for hu in (values.air_hu, values.tissue_hu)]
    odd = [say("{count} blank", count=len(planes.blank))] if planes.blank else []
    odd += [say("{count} repeated", count=len(planes.repeated))] if planes.repeated else []
    bone = None if values.bone_share is None else pointed(f"{100 * values.bone_share:.1f}")
    return [
        (say("values"), say("{low} to {high} HU", low=values.lowest, high=values.highest)),
        (say("air, soft tissue"), ", ".join(peaks)),
        (say("bone"), "-" if bone is None else say("{share}% of what is not air", share=bone)),
        (say("odd slices"), ", ".join(odd) or say("none ({count} blank at the ends)", count=planes.blank_ends)),
    ]


def _body_rows(seen: Inspection) -> list[tuple[str, str]]:
    if seen.body_mm is None:
        return []
    unsure = {"likely": ""}
    parts = [say(part.name) + unsure.get(part.certainty, f" ({say('unsure')})") for part in reversed(seen.parts)]
    return [
        (say("body"), say("{edges} mm, as far as it is visible", edges=_whole(seen.body_mm))),
        (say("cut at the sides"), say("{share} of the image border", share=percent(seen.border_share or 0.0))),
        (say("part of the body"), ", ".join(parts) or say("cannot be told")),
    ]


def _contrast_rows(seen: Inspection) -> list[tuple[str, str]]:
    if seen.contrast is None:
        return []
    bright = {"ml": short(seen.contrast.bright_ml), "hu": seen.contrast.bright_hu}
    return [(say("contrast medium"), say(CONTRAST[seen.contrast.hint], **bright))]


def _whole(edges_mm: Iterable[float]) -> str:
    return " x ".join(f"{edge:.0f}" for edge in edges_mm)
