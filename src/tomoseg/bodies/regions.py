"""Regions of a map outside its structures (discs, fluids), and places within them (heights, chambers)."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import distance_transform_edt, find_objects, maximum_filter

from tomoseg.bodies.kinds import Fill, Kind, with_fill
from tomoseg.bodies.spaces import airway, belly, hollows
from tomoseg.kernels import kernel
from tomoseg.labels import LabelSet

_NEARBY_MM = 9.0
"""Reach of the search for the radius of a bone."""


class Region(IntEnum):
    """Tissue of an unlabelled voxel within the body that is neither fat nor muscle."""

    NONE = 0
    DISC = 1
    FLUID = 2
    FACE = 3
    SINUS = 4
    AIR = 5
    BONE = 6
    CSF = 7
    HOLLOW = 8
    BELLY = 9


def guessed_regions(
    numbers: UInt8[np.ndarray, "x y z"],
    labels: LabelSet,
    kinds: tuple[Kind, ...],
    spacing_mm: tuple[float, float, float],
) -> UInt8[np.ndarray, "x y z"]:
    """Discs between vertebrae, the fluid around cord and brain, the sinus of the kidneys, hollows of head and neck."""
    regions = np.zeros(numbers.shape, np.uint8)
    vertebra = np.zeros(len(labels) + 1, bool)
    for number, name in enumerate(labels.names, start=1):
        vertebra[number] = "vertebra" in name.lower() or name.lower() == "sacrum"
    _discs(numbers, vertebra, round(11 / spacing_mm[2]), regions)
    for number, kind in enumerate(kinds, start=1):
        if kind.tissue == "cord":
            _around(numbers, number, regions, spacing_mm, 4.0, Region.CSF)
        elif kind.fill == Fill.KIDNEY:
            _around(numbers, number, regions, spacing_mm, 11.0, Region.SINUS)
    closed, fluid = hollows(numbers, kinds, spacing_mm)
    free = (numbers == 0) & (regions == 0)
    regions[free & (belly(numbers, labels, kinds, spacing_mm) > 0)] = Region.BELLY
    regions[free & (closed > 0)] = Region.HOLLOW
    regions[free & (fluid > 0)] = Region.CSF
    regions[free & (airway(numbers, labels, spacing_mm) > 0)] = Region.AIR
    return regions


def _around(
    numbers: UInt8[np.ndarray, "x y z"],
    number: int,
    regions: UInt8[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    radius_mm: float,
    region: Region,
) -> None:
    """Mark unlabelled voxels near a structure; of a kidney those that it embraces."""
    found = np.argwhere(numbers == number)
    if not len(found):
        return
    margin = int(np.ceil(2 * radius_mm / min(spacing_mm))) + 1
    low = np.maximum(found.min(0) - margin, 0)
    box = tuple(slice(a, b) for a, b in zip(low, found.max(0) + margin + 1, strict=True))
    mask = numbers[box] == number
    near = distance_transform_edt(~mask, spacing_mm) <= radius_mm
    if region == Region.SINUS:
        near = distance_transform_edt(near, spacing_mm) > radius_mm
    regions[box][near & (numbers[box] == 0)] = region


def places(
    numbers: UInt8[np.ndarray, "x y z"],
    kinds: tuple[Kind, ...],
    depth: UInt8[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
) -> tuple[UInt8[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"]]:
    """See `Anatomy.place` and `Anatomy.aside`."""
    place, aside = np.zeros((2, *numbers.shape), np.uint8)
    bones, size = set(with_fill(kinds, Fill.BONE)), [2 * round(_NEARBY_MM / s) + 1 for s in spacing_mm]
    for number, box in enumerate(find_objects(numbers), start=1):
        if box is not None and number in bones:
            mask = numbers[box] == number
            place[box][mask] = maximum_filter(np.where(mask, depth[box], 0), size)[mask]
    hollow = np.zeros(len(kinds) + 1, bool)
    hollow[with_fill(kinds, Fill.GUT, Fill.FLUID, Fill.LUNG)] = True
    _heights(numbers, hollow, place)
    _heights(numbers.transpose(1, 0, 2), hollow, aside.transpose(1, 0, 2))
    for number in with_fill(kinds, Fill.HEART):
        found = np.argwhere(numbers == number)
        if len(found):
            low, high = found.min(0), found.max(0)
            x, y, z = ((found - (low + high) / 2) / np.maximum((high - low) / 2, 1)).T
            left = -0.65 * x - 0.55 * y + 0.15 * z  # the left heart lies to the left and behind
            wall = np.where(z < 0.2, 1, 0)  # ventricles below, atria above
            chamber = np.where(left > 0.06, 1, np.where(left < -0.06, 2, 0))
            place[tuple(found.T)] = chamber * 2 + wall
    return place, aside


@kernel()
def _discs(numbers, vertebra, gap, regions):  # type: ignore[no-untyped-def]
    """Fill what lies between two vertebrae along z."""
    nx, ny, nz = numbers.shape
    for i in range(nx):
        for j in range(ny):
            last, at = 0, -1000
            for k in range(nz):
                number = numbers[i, j, k]
                if number == 0:
                    continue
                if vertebra[number]:
                    if last != 0 and last != number and k - at - 1 <= gap:
                        regions[i, j, at + 1 : k] = 1
                    last, at = number, k
                else:
                    last = 0


@kernel()
def _heights(numbers, hollow, place):  # type: ignore[no-untyped-def]
    """Place within each run along y of one hollow organ."""
    nx, ny, nz = numbers.shape
    for i in range(nx):
        for k in range(nz):
            j = 0
            while j < ny:
                number = numbers[i, j, k]
                end = j + 1
                if hollow[number]:
                    while end < ny and numbers[i, end, k] == number:
                        end += 1
                    for b in range(j, end):
                        place[i, b, k] = int(255 * (b - j + 0.5) / (end - j))
                j = end
