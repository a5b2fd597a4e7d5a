"""What a dataset holds, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tomoseg.checks.holdings import Holdings, StructureHolding
from tomoseg.errors import counted
from tomoseg.terminal.console import out, table

MOST_NAMED = 12
"""Cases that lack masks named one by one; more are counted."""


def show_holdings(holdings: Holdings, ids: Mapping[str, int] | None = None) -> None:
    """A line for each structure, and below it voxels and what is lacking.

    Args:
        holdings: What the dataset holds.
        ids: Of the structures, to be shown beside them.
    """
    columns = ["structure", *([] if ids is None else ["id"]), "cases"]
    measured = any(one.empty is not None for one in holdings.structures.values())
    if measured:
        columns += ["empty", "ml from", "median", "to"]
    rows = []
    for name, one in holdings.structures.items():
        row: list[object] = [name, *([] if ids is None else [ids[name]]), one.cases]
        rows.append([*row, *_volumes(one)] if measured else row)
    table(f"{counted(holdings.cases, 'case')}, {counted(len(holdings.structures), 'structure')}", columns, rows)
    for line in (*_ranges(holdings), *lacking_lines(holdings)):
        out.print(line)


def _ranges(holdings: Holdings) -> Iterator[str]:
    """Voxels and extents of the scans, where they are known."""
    if holdings.spacing_mm is not None:
        edges = ", ".join(f"{axis} {_range(*ends)}" for axis, ends in zip("xyz", holdings.spacing_mm, strict=True))
        yield f"Voxel edges in mm: {edges}"
    if holdings.extent_mm is not None:
        shown = ", ".join(f"{axis} {_whole(*ends)}" for axis, ends in zip("xyz", holdings.extent_mm, strict=True))
        yield f"Scans show in mm: {shown}"


def lacking_lines(holdings: Holdings) -> list[str]:
    """Which cases lack which masks, the first of many by name."""
    lacking = list(holdings.lacking.items())
    if not lacking:
        return []
    masks = sum(len(names) for _, names in lacking)
    lines = [
        f"Not annotated, so unknown there and not absent: {counted(masks, 'mask')} in {counted(len(lacking), 'case')}"
    ]
    lines += [f"  {case}: {_some(names)}" for case, names in lacking[:MOST_NAMED]]
    if len(lacking) > MOST_NAMED:
        lines.append(f"  and {len(lacking) - MOST_NAMED} more")
    return lines


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _volumes(one: StructureHolding) -> list[object]:
    if one.volume_ml is None:
        return [one.empty, None, None, None]
    low, high = one.volume_ml
    return [one.empty, *(_short(value) for value in (low, one.median_ml or 0, high))]


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _whole(low: float, high: float) -> str:
    return f"{low:.0f}" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f}"


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
