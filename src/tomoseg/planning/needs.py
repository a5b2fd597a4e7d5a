"""What a dataset asks for: rules of thumb, each with its reason; `docs/concepts/planning.md` says where from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomoseg.planning.fingerprint import Fingerprint, StructurePrint

FEW_SLICES, SLICES_A_STRUCTURE = 6000, 150
"""Slices that a network has to see, and how many more for each structure."""

ENOUGH_SHARE, HARDLY_SHARE = 0.6, 0.15
"""Of these: with fewer than the one the grid is made coarser, and masks are rough; with fewer than the other the
network is made narrower on the coarsest grid, and next to nothing is found."""

THIN_PERCENT, MOST_PIXELS_ACROSS, LEAST_PIXELS_ACROSS = 10, 6.0, 2.0
"""A tenth of the structures are thinner than those that the grid is chosen for; more pixels across gain nothing,
fewer lose them."""

FINE_MM, COARSE_MM = 1.5, 5.0
"""Outlines of large structures need no finer pixels than the one, and no network here was trained on coarser ones than
the other."""

COARSER = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Grids that are tried, in edges of the finest."""

MIDDLE_WINDOW, WIDE_WINDOW = (-200.0, 300.0), (-1000.0, 1000.0)
LEAST_BOTTOM_PIXELS, LEAST_LEVELS, MOST_LEVELS = 5, 2, 5
"""Pixels along the shorter edge that the coarsest level has at least, and how many levels there are."""

THICK_MM, THIN_MM = 6.0, 1.5
"""Slices farther apart than the one have little to do with each other, nearer than the other are nearly copies."""

MANY_STRUCTURES = 30


def wanted_slices(structures: int) -> int:
    """Slices that training should see: more structures need more.

    Example:
        >>> wanted_slices(2), wanted_slices(117)
        (6300, 23550)
    """
    return FEW_SLICES + SLICES_A_STRUCTURE * structures


def thin_mm(known: Sequence[StructurePrint]) -> float | None:
    """How thick in the plane a thin structure is: a tenth of them are thinner. None where none was seen."""
    if not known:
        return None
    return float(np.percentile([min(one.thickness_mm[:2]) for one in known], THIN_PERCENT))


def grids_mm(found: Fingerprint) -> list[float]:
    """In-plane pixel edges that would do, the finest first.

    Never finer than the scans, and 1.5 mm are fine enough unless structures are thin; never so coarse that these are
    lost, nor than 5 mm.
    """
    scans = max(found.spacing_mm[:2])
    thin = thin_mm(found.known)
    if thin is None:
        return [_rounded(scans)]
    finest = max(scans, min(FINE_MM, thin / MOST_PIXELS_ACROSS))
    coarsest = max(finest, min(COARSE_MM, thin / LEAST_PIXELS_ACROSS))
    edges = [finest * factor for factor in COARSER if finest * factor < 0.95 * coarsest]
    return list(dict.fromkeys(_rounded(edge) for edge in (*edges, coarsest)))


def _rounded(edge_mm: float) -> float:
    return float(f"{edge_mm:.3g}")


def pixels_of(found: Fingerprint, edge_mm: float) -> tuple[int, int]:
    """Pixels of the median case's slice on a grid, along x and y."""
    x, y = (max(1, round(length / edge_mm)) for length in found.extent_mm[:2])
    return x, y


def levels_of(edges: Sequence[int]) -> int:
    """How many levels a U-Net for such slices has: the coarsest still sees what lies beside what.

    Example:
        >>> levels_of((104, 64)), levels_of((256, 256))
        (4, 5)
    """
    most = int(np.log2(max(1.0, min(edges) / LEAST_BOTTOM_PIXELS))) + 1
    return min(max(most, LEAST_LEVELS), MOST_LEVELS)


def channels_of(first: int, levels: int) -> tuple[int, ...]:
    """Channels of each level: doubled at each, so that levels cost alike.

    Example:
        >>> channels_of(16, 4)
        (16, 32, 64, 128)
    """
    return tuple(first * 2**level for level in range(levels))


def neighbours_of(slice_mm: float) -> tuple[int, str]:
    """How many slices the network sees, and why."""
    if slice_mm > THICK_MM:
        return 3, f"slices {slice_mm:.3g} mm apart have little to do with each other"
    if slice_mm < THIN_MM:
        return 7, f"slices {slice_mm:.3g} mm apart are nearly copies of each other"
    return 5, f"slices {slice_mm:.3g} mm apart: two on either side show what goes on"


def windows_of(known: Sequence[StructurePrint]) -> tuple[tuple[tuple[float, float], ...], str]:
    """Windows in HU, and why."""
    low, high = MIDDLE_WINDOW
    below = [one.name for one in known if one.hu[1] < low]
    above = [one.name for one in known if one.hu[1] > high]
    for side, names in (("below", below), ("above", above)):
        if len(names) > 1:
            what = f"{len(names)} structures lie mostly {side} {low if side == 'below' else high:g} HU"
            return (MIDDLE_WINDOW, WIDE_WINDOW), f"{what}, which one window of soft tissue shows as one grey"
    outside = [*below, *above]
    if outside:
        return (MIDDLE_WINDOW,), f"soft tissue; of {outside[0]} the outline is seen, and nothing else is like it"
    return (MIDDLE_WINDOW,), "soft tissue: all structures lie mostly within"


def emphasis_power_of(structures: int) -> tuple[float, str]:
    """To which power the rarity of structures weighs, and why."""
    if structures >= MANY_STRUCTURES:
        return 0.25, f"{structures} structures: masks that more would enlarge come down too late"
    return 0.5, "without, small structures are not found"
