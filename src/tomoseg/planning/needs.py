"""Rules of thumb for settings, each with its reason; `docs/concepts/planning.md` gives their sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomoseg.planning.fingerprint import Fingerprint, StructurePrint

FEW_SLICES, SLICES_A_STRUCTURE = 6000, 150
"""Slices that a network has to see, and additional ones per structure."""

ENOUGH_SHARE, HARDLY_SHARE = 0.6, 0.15
"""Fractions of these slices: below the first, the grid is made coarser and masks are rough; below the second, the
network is made narrower on the coarsest grid and next to nothing is found."""

THIN_PERCENT, MOST_PIXELS_ACROSS, LEAST_PIXELS_ACROSS = 10, 6.0, 2.0
"""Percentile of thickness that the grid is chosen for, and its limits in pixels across: more gain nothing, fewer
lose structures."""

FINE_MM, COARSE_MM = 1.5, 5.0
"""Limits of the grid's spacing: outlines of large structures need nothing finer, and no network here was trained on
anything coarser."""

COARSER = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Spacings that are tried, relative to the finest."""

MIXED = 1.5
"""Factor between the slice distances of the scans, beyond which all are resampled to their median."""

MIDDLE_WINDOW, WIDE_WINDOW = (-200.0, 300.0), (-1000.0, 1000.0)
LEAST_BOTTOM_PIXELS, LEAST_LEVELS, MOST_LEVELS = 5, 2, 5
"""Least pixels along the shorter edge of the coarsest level, and limits of the number of levels."""

THICK_MM, THIN_MM = 6.0, 1.5
"""Slices farther apart than the first have little in common; nearer than the second, they are nearly copies."""

MANY_STRUCTURES = 30


def wanted_slices(structures: int) -> int:
    """Return the number of slices that training should see.

    Example:
        >>> wanted_slices(2), wanted_slices(117)
        (6300, 23550)
    """
    return FEW_SLICES + SLICES_A_STRUCTURE * structures


def thin_mm(known: Sequence[StructurePrint]) -> float | None:
    """Return the 10th percentile of the structures' in-plane thickness in mm; None if none was seen."""
    if not known:
        return None
    return float(np.percentile([min(one.thickness_mm[:2]) for one in known], THIN_PERCENT))


def grids_mm(found: Fingerprint) -> list[float]:
    """Return suitable in-plane spacings in mm, the finest first.

    None is finer than the scans; 1.5 mm is fine enough unless structures are thin. None is so coarse that thin
    structures are lost, or coarser than 5 mm.
    """
    scans = max(found.spacing_mm[:2])
    thin = thin_mm(found.known)
    if thin is None:
        return [_rounded(scans)]
    finest = max(scans, min(FINE_MM, thin / MOST_PIXELS_ACROSS))
    coarsest = max(finest, min(COARSE_MM, thin / LEAST_PIXELS_ACROSS))
    edges = [finest * factor for factor in COARSER if finest * factor < 0.95 * coarsest]
    return list(dict.fromkeys(_rounded(edge) for edge in (*edges, coarsest)))


def slice_spacing_of(found: Fingerprint, edge_mm: float) -> tuple[float | None, str]:
    """Return the slice spacing of the grid in mm, None for the scans' own, and the reason.

    Args:
        found: The dataset's fingerprint.
        edge_mm: In-plane spacing of the grid.
    """
    apart, (low, high) = found.spacing_mm[2], found.spacing_range_mm[2]
    if apart < edge_mm / 3:
        return edge_mm, f"slices {apart:.3g} mm apart are much finer than the pixels"
    if high > MIXED * low:
        return _rounded(apart), f"the scans' slices are {low:.3g} to {high:.3g} mm apart: one distance for all of them"
    return None, f"the scans' own slices, {apart:.3g} mm apart"


def _rounded(edge_mm: float) -> float:
    return float(f"{edge_mm:.3g}")


def pixels_of(found: Fingerprint, edge_mm: float) -> tuple[int, int]:
    """Return the pixels along x and y of the median case's slice on a grid."""
    x, y = (max(1, round(length / edge_mm)) for length in found.extent_mm[:2])
    return x, y


def levels_of(edges: Sequence[int]) -> int:
    """Return the number of levels of a U-Net for slices of a size.

    Example:
        >>> levels_of((104, 64)), levels_of((256, 256))
        (4, 5)
    """
    most = int(np.log2(max(1.0, min(edges) / LEAST_BOTTOM_PIXELS))) + 1
    return min(max(most, LEAST_LEVELS), MOST_LEVELS)


def channels_of(first: int, levels: int) -> tuple[int, ...]:
    """Return the channels of each level, doubled at each, so that levels cost about the same.

    Example:
        >>> channels_of(16, 4)
        (16, 32, 64, 128)
    """
    return tuple(first * 2**level for level in range(levels))


def neighbours_of(slice_mm: float) -> tuple[int, str]:
    """Return the number of slices that the network sees, and the reason."""
    if slice_mm > THICK_MM:
        return 3, f"slices {slice_mm:.3g} mm apart have little in common"
    if slice_mm < THIN_MM:
        return 7, f"slices {slice_mm:.3g} mm apart are nearly copies of each other"
    return 5, f"slices {slice_mm:.3g} mm apart: two on either side show how structures continue"


def windows_of(known: Sequence[StructurePrint]) -> tuple[tuple[tuple[float, float], ...], str]:
    """Return the windows in HU, and the reason."""
    low, high = MIDDLE_WINDOW
    below = [one.name for one in known if one.hu[1] < low]
    above = [one.name for one in known if one.hu[1] > high]
    alike = "which a soft-tissue window shows in a single grey"
    if len(below) > 1:
        return (MIDDLE_WINDOW, WIDE_WINDOW), f"{len(below)} structures lie mostly below {low:g} HU, {alike}"
    if len(above) > 1:
        return (MIDDLE_WINDOW, WIDE_WINDOW), f"{len(above)} structures lie mostly above {high:g} HU, {alike}"
    outside = [*below, *above]
    if outside:
        return (MIDDLE_WINDOW,), f"soft tissue; only {outside[0]} lies outside, and its outline shows all the same"
    return (MIDDLE_WINDOW,), "soft tissue: all structures lie mostly within"


def emphasis_power_of(structures: int) -> tuple[float, str]:
    """Return the exponent of the structures' rarity in the loss, and the reason."""
    if structures >= MANY_STRUCTURES:
        return 0.25, f"{structures} structures: a higher value enlarges masks, and they shrink again too late"
    return 0.5, "without it, small structures are not found"
