"""What a dataset holds, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tomoseg.checks.holdings import Holdings, StructureHolding
from tomoseg.language.words import millilitres, say, say_many, short
from tomoseg.terminal.console import out, table

MOST_NAMED = 12
"""Cases that lack masks named one by one; more are counted."""


def show_holdings(holdings: Holdings, ids: Mapping[str, int] | None = None) -> None:
    """A line for each structure, and below it voxels and what is lacking.

    Args:
        holdings: What the dataset holds.
        ids: The ids of the structures, to be shown beside them.
    """
    columns = [say("structure"), *([] if ids is None else [say("id")]), say("cases")]
    measured = any(one.empty is not None for one in holdings.structures.values())
    if measured:
        columns += [say("empty"), say("ml from"), say("median"), say("to")]
    rows = []
    for name, one in holdings.structures.items():
        row: list[object] = [name, *([] if ids is None else [ids[name]]), one.cases]
        rows.append([*row, *_volumes(one)] if measured else row)
    cases = say_many(holdings.cases, "1 case", "{count} cases")
    table(f"{cases}, {say_many(len(holdings.structures), '1 structure', '{count} structures')}", columns, rows)
    for line in (*_ranges(holdings), *lacking_lines(holdings)):
        out.print(line)


def _ranges(holdings: Holdings) -> Iterator[str]:
    """Voxels and extents of the scans, where they are known."""
    if holdings.spacing_mm is not None:
        edges = ", ".join(f"{axis} {_range(*ends)}" for axis, ends in zip("xyz", holdings.spacing_mm, strict=True))
        yield say("Voxel edges in mm: {edges}", edges=edges)
    if holdings.extent_mm is not None:
        shown = ", ".join(f"{axis} {_whole(*ends)}" for axis, ends in zip("xyz", holdings.extent_mm, strict=True))
        yield say("Extent of the scans in mm: {lengths}", lengths=shown)


def lacking_lines(holdings: Holdings) -> list[str]:
    """Which cases lack which masks, the first of many by name."""
    lacking = list(holdings.lacking.items())
    if not lacking:
        return []
    masks = sum(len(names) for _, names in lacking)
    counts = {
        "masks": say_many(masks, "1 mask", "{count} masks"),
        "cases": say_many(len(lacking), "1 case", "{count} cases"),
    }
    lines = [say("Not annotated, so unknown there rather than absent: {masks} in {cases}", **counts)]
    lines += [f"  {case}: {_some(names)}" for case, names in lacking[:MOST_NAMED]]
    if len(lacking) > MOST_NAMED:
        lines.append("  " + say("and {count} more", count=len(lacking) - MOST_NAMED))
    return lines


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (" " + say("and {count} more", count=len(names) - 8) if len(names) > 8 else "")


def _volumes(one: StructureHolding) -> list[object]:
    if one.volume_ml is None:
        return [one.empty, None, None, None]
    low, high = one.volume_ml
    return [one.empty, *(millilitres(value) for value in (low, one.median_ml or 0, high))]


def _whole(low: float, high: float) -> str:
    ends = f"{low:.0f}", f"{high:.0f}"
    return ends[0] if ends[0] == ends[1] else say("{low} to {high}", low=ends[0], high=ends[1])


def _range(low: float, high: float) -> str:
    return short(low) if short(low) == short(high) else say("{low} to {high}", low=short(low), high=short(high))
