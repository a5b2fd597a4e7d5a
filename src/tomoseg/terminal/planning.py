"""What was planned for a dataset, in the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from tomoseg.language.sentences import sentence
from tomoseg.language.words import later, pointed, say, say_many, short
from tomoseg.planning.fingerprint import Fingerprint, StructurePrint
from tomoseg.planning.rules import Choice, DatasetPlan
from tomoseg.terminal.console import fail, out, table, warn_all

MOST_STRUCTURES = 12
"""Structures that are shown each; of more, the thinnest."""

MOST_COLUMNS = 100


def show_plan_of_dataset(found: DatasetPlan) -> None:
    """The fingerprint, the settings with their reasons, what may be expected, and cases that could not be read."""
    show_fingerprint(found.found)
    out.print("")
    out.print(say("Planned settings"))
    show_choices(found.choices)
    out.print("")
    show_outlook(found)
    fail(found.failed)


def show_planned_grid(found: DatasetPlan) -> None:
    """The grid that was planned."""
    grid = [one for one in found.choices if one.setting.startswith("grid.")]
    out.print(say("Planned for this dataset (--preset default uses fixed settings instead):"))
    show_choices(grid)


def show_planned_training(found: DatasetPlan) -> None:
    """The settings of training that were planned, and what may be expected."""
    out.print(say("Planned for this dataset (--preset default uses fixed settings instead):"))
    show_choices(one for one in found.choices if not one.setting.startswith("grid."))
    if found.never_enough:
        warn_all([found.outlook])
    else:
        show_outlook(found)


def show_outlook(found: DatasetPlan) -> None:
    """What the minutes buy, and what may be expected of it."""
    here, usual = (
        later("{minutes} min (measured here): "),
        later("{minutes} min (typical of such a machine): "),
    )
    minutes = say(here if found.means.cost.is_measured else usual, minutes=short(found.means.minutes))
    wrapped((minutes if found.is_timed else "") + sentence(found.outlook))


def show_choices(choices: Iterable[Choice]) -> None:
    """A line for each setting, with its reason."""
    choices = list(choices)
    width = max((len(one.setting) for one in choices), default=0)
    for one in choices:
        start = f"  {one.setting:<{width}}  "
        wrapped(start + say("{name}: {text}", name=written(one.value), text=sentence(one.reason)), " " * len(start))


def written(value: object) -> str:
    """A value as flags take it.

    Example:
        >>> written((16, 32)), written(((-200.0, 300.0),)), written(None)
        ('16 32', '-200 300', 'None')
    """
    if isinstance(value, tuple):
        return " ".join(written(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def wrapped(text: str, indent: str = "") -> None:
    """A line that goes on below itself where it is too long for the terminal."""
    width = min(out.width, MOST_COLUMNS)
    out.print(textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True))


def show_fingerprint(found: Fingerprint) -> None:
    """What the dataset is."""
    shown = sorted(found.structures, key=lambda one: (one.is_known, min(one.thickness_mm[:2])))[:MOST_STRUCTURES]
    what = "" if len(shown) == len(found.structures) else say(", the {count} thinnest", count=len(shown))
    read = "" if found.looked_at == found.cases else say(", {count} of them read", count=found.looked_at)
    cases = say_many(found.cases, "1 training case", "{count} training cases")
    title = f"{cases}{read}; {say_many(len(found.structures), '1 structure', '{count} structures')}{what}"
    thick = (say("mm thick, x y z"), say("of the body"), say("HU"))
    columns = (say("structure"), say("cases"), say("seen in"), "ml", *thick)
    table(title, columns, [_row(one, found) for one in shown])
    edges = ", ".join(f"{axis} {_range(*ends)}" for axis, ends in zip("xyz", found.spacing_range_mm, strict=True))
    extent = " x ".join(f"{length:.0f}" for length in found.extent_mm)
    hu = say("{low} to {high}", low=f"{found.hu[0]:.0f}", high=f"{found.hu[2]:.0f}")
    wrapped(
        say("Voxel edges in mm: {edges}. The body: {extent} mm. HU above air: {hu}.", edges=edges, extent=extent, hu=hu)
    )
    if found.never_seen:
        named = ", ".join(found.never_seen[:8]) + (", ..." if len(found.never_seen) > 8 else "")
        warn_all([f"no training case that was read has {named}: it cannot be learned"])


def _row(one: StructurePrint, found: Fingerprint) -> tuple[object, ...]:
    cases, seen = f"{one.annotated}/{found.cases}", f"{one.present}/{one.looked_at}"
    if not one.is_known:
        return one.name, cases, seen, None, None, None, None
    thick = " ".join(f"{edge:.0f}" for edge in one.thickness_mm)
    return (
        one.name, cases, seen, short(one.volume_ml), thick, pointed(f"{one.share:.2%}"),
        say("{low} to {high}", low=f"{one.hu[0]:.0f}", high=f"{one.hu[2]:.0f}"),
    )  # fmt: skip


def _range(low: float, high: float) -> str:
    return short(low) if short(low) == short(high) else say("{low} to {high}", low=short(low), high=short(high))
