"""Arrangement of parallel slices on a regular grid.

Slices are sorted by position along the common normal. If they are evenly spaced and aligned, the grid is the slices
themselves. Otherwise it is a regular grid with the slices' in-plane axes and pixel size, large enough for all of them:

- gantry tilt, or any other shift between slices: each is shifted within its plane, by linear interpolation;
- uneven gaps, and missing slices: planes in between are interpolated linearly from the two nearest slices.

Every irregularity is reported in a notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int16

from tomoseg.errors import GridError, counted
from tomoseg.notices import Notice

EVEN_VOXELS = 0.05
"""Maximum distance of a slice from a plane of the grid, in voxels, at which it counts as that plane. Some tools round
positions to a tenth of a millimetre."""

SAME_PLACE_MM = 0.01
"""Distance below which slices are at the same position; the thinnest CT slices are 0.2 mm apart."""

GAP_QUANTILE = 0.1
"""Quantile of the gaps that is the gap of the regular grid, so that a single small gap, where two blocks of slices
meet, does not determine it."""

LARGEST_GROWTH = 16
"""Maximum ratio of the grid's voxels to the slices' pixels; a larger one results from a damaged position."""

AIR_HU = -1024
"""HU of voxels where no slice has a pixel."""


@dataclass(frozen=True)
class Slices:
    """The geometry of parallel slices of one size.

    Attributes:
        positions_mm: `(n, 3)`, position of each slice's first pixel in RAS+ mm.
        across: `(3,)`, unit vector from one column to the next, RAS+.
        down: `(3,)`, unit vector from one row to the next, RAS+, perpendicular to it.
        pixel_mm: Spacing of columns and of rows in mm.
        shape: Columns and rows.
        thickness_mm: Slice thickness in mm, needed for a single slice only.
    """

    positions_mm: Float[np.ndarray, "n 3"]
    across: Float[np.ndarray, "3"]
    down: Float[np.ndarray, "3"]
    pixel_mm: tuple[float, float]
    shape: tuple[int, int]
    thickness_mm: float | None = None

    def along_mm(self, order: Sequence[int]) -> Float[np.ndarray, "k"]:
        """Return the positions of some of the slices along the normal in mm."""
        return self.positions_mm[list(order)] @ np.cross(self.across, self.down)


@dataclass(frozen=True)
class Arrangement:
    """Slices on a regular grid.

    Attributes:
        order: Indices of the slices in the order along the normal, one for each position.
        repeated: Pairs of a slice that was left out and the one at the same position.
        offsets_voxels: `(len(order), 3)`, position of each slice's first pixel on the grid in voxels.
        shape: Voxels of the grid: columns, rows, planes.
        affine: `(4, 4)`, maps grid index to RAS+ mm.
        findings: Notices of irregularities.
    """

    order: tuple[int, ...]
    repeated: tuple[tuple[int, int], ...]
    offsets_voxels: Float[np.ndarray, "n 3"]
    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    findings: tuple[Notice, ...]


def arrange(slices: Slices) -> Arrangement:
    """Find the regular grid of slices in any order.

    Args:
        slices: One or more slices. Of several at the same position, the first is taken.

    Returns:
        The grid, and the positions of the slices on it.

    Raises:
        GridError: If slices lie side by side, or so far apart that a regular grid would be mostly empty, or a
            single one has no thickness.
    """
    normal = np.cross(slices.across, slices.down)
    places = slices.positions_mm @ np.stack([slices.across, slices.down, normal], axis=1)
    order, repeated = _sorted(places)
    kept = places[list(order)]
    findings = _repeats(len(repeated), len(places))
    planes, gap_mm, uneven = _planes(kept[:, 2], slices.thickness_mm)
    voxel_mm = np.array([*slices.pixel_mm, gap_mm])
    offsets = (kept - kept[0]) / voxel_mm
    offsets[:, 2] = planes
    findings += uneven
    findings += _shifts(offsets, kept, slices)
    if np.abs(offsets[:, :2]).max() <= EVEN_VOXELS:
        offsets[:, :2] = 0
    lowest = np.floor(offsets.min(axis=0) + EVEN_VOXELS)
    size = np.ceil(offsets.max(axis=0) - lowest - EVEN_VOXELS) + np.array((*slices.shape, 1))
    if np.prod(size) > LARGEST_GROWTH * np.prod(slices.shape) * max(len(order), 2):
        raise GridError(
            f"expected slices close to one another, got {len(order)} that need a grid of "
            f"{' x '.join(f'{n:.0f}' for n in size)} voxels; pass the slices of one scan, or repair their positions"
        )
    offsets -= lowest
    affine = np.eye(4)
    affine[:3, :3] = np.stack([slices.across, slices.down, normal], axis=1) * voxel_mm
    affine[:3, 3] = slices.positions_mm[order[0]] + affine[:3, :3] @ lowest
    return Arrangement(order, repeated, offsets, (int(size[0]), int(size[1]), int(size[2])), affine, tuple(findings))


def _sorted(places: Float[np.ndarray, "n 3"]) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Sort slices along the normal; return one for each position, and pairs of a repeated slice and the one taken.

    Raises:
        GridError: If two lie side by side in a plane.
    """
    order: list[int] = []
    repeated: list[tuple[int, int]] = []
    for number in np.argsort(places[:, 2], kind="stable").tolist():
        if order and places[number, 2] - places[order[-1], 2] < SAME_PLACE_MM:
            if np.abs(places[number, :2] - places[order[-1], :2]).max() >= SAME_PLACE_MM:
                raise GridError(
                    "expected slices one after another, got two side by side in one plane; pass the slices of one scan"
                )
            first, other = sorted((order[-1], number))
            order[-1] = first
            repeated.append((other, first))
        else:
            order.append(number)
    return tuple(order), tuple(repeated)


def _repeats(repeated: int, slices: int) -> list[Notice]:
    if not repeated:
        return []
    text = f"Left out: {counted(repeated, 'slice')} of {slices}, at the position of another. Check that it is one scan."
    return [Notice(text, "repeated slices")]


def _planes(
    along_mm: Float[np.ndarray, "n"], thickness_mm: float | None
) -> tuple[Float[np.ndarray, "n"], float, list[Notice]]:
    """Return the plane of each slice, fractional if gaps are uneven, the spacing of planes in mm, and notices.

    Raises:
        GridError: If a single slice has no thickness.
    """
    if len(along_mm) == 1:
        if thickness_mm is None:
            raise GridError(
                "expected a slice thickness, got a single slice without one; give the voxel size with --assume-spacing"
            )
        return np.zeros(1), thickness_mm, []
    gaps = np.diff(along_mm)
    typical = float(np.quantile(gaps, GAP_QUANTILE, method="lower"))
    steps = np.maximum(np.rint(gaps / typical), 1).astype(int)
    numbers = np.concatenate([[0.0], np.cumsum(steps)])
    gap_mm = round(float(along_mm[-1] - along_mm[0]) / float(numbers[-1]), 9)  # positions are decimal numbers
    away = np.abs(along_mm - along_mm[0] - numbers * gap_mm).max() / gap_mm
    if away > EVEN_VOXELS:
        return (along_mm - along_mm[0]) / typical, typical, [_uneven(gaps, typical)]
    if (steps == 1).all():
        return numbers, gap_mm, []
    if 2 * np.count_nonzero(steps == 1) < len(steps):  # such as two blocks that interleave where they overlap
        return numbers, gap_mm, [_uneven(gaps, gap_mm)]
    missing = int(steps.sum()) - len(steps)
    after = _listed((np.flatnonzero(steps > 1) + 1).tolist())
    text = (
        f"{counted(missing, 'slice is', 'slices are')} missing (after slice {after} of {len(along_mm)} in order of "
        f"position, {gap_mm:.4g} mm apart otherwise) and filled in by interpolation. Export the series again if it "
        "should be complete."
    )
    return numbers, gap_mm, [Notice(text, "missing slices")]


def _uneven(gaps: Float[np.ndarray, "n"], plane_mm: float) -> Notice:
    listed = _listed(sorted({float(f"{gap:.2f}") for gap in gaps}))
    text = (
        f"Gaps between slices are uneven ({listed} mm); the scan was resampled to planes {plane_mm:.4g} mm apart. "
        "Masks can be mapped back onto the slices."
    )
    return Notice(text, "uneven gaps")


def _shifts(offsets: Float[np.ndarray, "n 3"], places: Float[np.ndarray, "n 3"], slices: Slices) -> list[Notice]:
    """Return a notice of shifts within the plane: a tilt if they grow linearly, otherwise the largest shift."""
    if np.abs(offsets[:, :2]).max() <= EVEN_VOXELS:
        return []
    moved = places - places[0]
    slope = moved[-1, :2] / moved[-1, 2]
    rest = np.abs(moved[:, :2] - np.outer(moved[:, 2], slope)) / slices.pixel_mm
    told = "each slice was moved within its plane onto a straight grid. Masks can be mapped back onto the slices."
    if rest.max() <= 1:
        angle = np.degrees(np.arctan(np.linalg.norm(slope)))
        return [Notice(f"The gantry was tilted by {angle:.1f} degrees against the table; {told}", "tilt")]
    text = f"Slices are shifted against each other by up to {np.abs(moved[:, :2]).max():.1f} mm; {told}"
    return [Notice(text, "shifted slices")]


def _listed(values: list[float] | list[int]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:5])
    return shown if len(values) <= 5 else f"{shown}, ..."


def resample(hu: Int16[np.ndarray, "n r c"], arrangement: Arrangement) -> Int16[np.ndarray, "k j i"]:
    """Resample slices to the planes of the regular grid.

    Args:
        hu: `(slices, rows, columns)`, in the order of the arrangement.
        arrangement: The arrangement of the slices.

    Returns:
        `(planes, rows, columns)`; `AIR_HU` where there is no slice.
    """
    columns, rows, planes = arrangement.shape
    along = arrangement.offsets_voxels[:, 2]
    out = np.full((planes, rows, columns), AIR_HU, np.int16)
    for k in range(planes):
        above = int(np.clip(np.searchsorted(along, k), 0, len(along) - 1))
        below = max(above - 1, 0) if along[above] > k else above
        distance = float(along[above] - along[below])
        share = (k - float(along[below])) / distance if distance else 0.0
        _blend(out[k], hu, arrangement, (below, above), min(max(share, 0.0), 1.0))
    return out


def _blend(
    plane: Int16[np.ndarray, "j i"],
    hu: Int16[np.ndarray, "n r c"],
    arrangement: Arrangement,
    pair: tuple[int, int],
    share: float,
) -> None:
    """Fill a plane with the weighted mean of two slices, or with the one that has a pixel there."""
    total = np.zeros(plane.shape, np.float32)
    weights = np.zeros(plane.shape, np.float32)
    for number, weight in zip(pair, (1 - share, share), strict=True):
        if weight > 0:
            i, j, _ = arrangement.offsets_voxels[number]
            first_row, moved = _moved(hu[number].astype(np.float32), float(j))
            first_column, moved = _moved(np.ascontiguousarray(moved.T), float(i))
            where = (
                slice(first_row, first_row + moved.shape[1]),
                slice(first_column, first_column + moved.shape[0]),
            )
            total[where] += np.float32(weight) * moved.T
            weights[where] += np.float32(weight)
    np.copyto(plane, np.rint(total / np.maximum(weights, 1e-6)).astype(np.int16), where=weights > 0)


def _moved(lines: Float32[np.ndarray, "l m"], offset: float) -> tuple[int, Float32[np.ndarray, "l2 m"]]:
    """Interpolate lines at fractional positions to integer ones; return the first of these, and the values.

    The number of lines stays the same; the outermost takes the value of the nearest line.
    """
    first = int(np.floor(offset + 0.5))
    part = first - offset  # in -0.5..0.5: position of the integers between two lines
    if part == 0 or len(lines) == 1:
        return first, lines
    shifted = lines.copy()
    if part > 0:
        shifted[:-1] += np.float32(part) * (lines[1:] - lines[:-1])
    else:
        shifted[1:] += np.float32(-part) * (lines[:-1] - lines[1:])
    return first, shifted
