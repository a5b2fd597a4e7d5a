"""Spaces that label maps do not tell: sinuses, fluid around the brain, the airway, the cavity of the belly."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tomoseg.bodies.kinds import Fill, Kind, with_fill
from tomoseg.kernels import kernel
from tomoseg.labels import LabelSet

WALL_MM = 35.0
"""Bones around a hollow are at most so far from each of its points."""
BRAIN_MM = 12.0
"""Fluid lies at most so far from the brain."""
BELLY_MM = 60.0
"""Organs of the belly around free fluid are at most so far."""
AIRWAY_MM = (9.0, 6.0)
"""Half axes of the airway of the throat, to the sides and to the front."""
_BEFORE_SPINE_MM = 11.0
_NEAR_BRAIN = 64


def hollows(
    numbers: UInt8[np.ndarray, "x y z"], kinds: tuple[Kind, ...], spacing_mm: tuple[float, float, float]
) -> tuple[UInt8[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"]]:
    """Find unlabelled voxels in hollows between bones of the skull, and between the skull and the brain.

    Args:
        numbers: Channel + 1 of the structure in each voxel, or 0, in RAS+ order.
        kinds: Material of each structure.
        spacing_mm: Voxel spacing per axis.

    Returns:
        The masks of both.
    """
    classes = np.full(len(kinds) + 1, 3, np.uint8)
    classes[0] = 0
    classes[[number for number, kind in enumerate(kinds, start=1) if kind.shell == "skull"]] = 1
    classes[with_fill(kinds, Fill.BRAIN)] = 2
    seen = _seen(numbers, classes, spacing_mm, WALL_MM)
    bones, brain = _directions(seen), (seen & _NEAR_BRAIN) > 0
    closed = (bones >= 5) | ((seen & 0b110011) == 0b110011)  # left, right, below, above
    fluid = brain & (bones >= 1)
    return (closed & ~brain).astype(np.uint8), fluid.astype(np.uint8)


def belly(
    numbers: UInt8[np.ndarray, "x y z"],
    labels: LabelSet,
    kinds: tuple[Kind, ...],
    spacing_mm: tuple[float, float, float],
) -> UInt8[np.ndarray, "x y z"]:
    """Find unlabelled voxels between organs of the belly, where free fluid may be."""
    organs = [
        (kind.fill in (Fill.GUT, Fill.LIVER) or kind.tissue in ("spleen", "urine"))
        and not name.lower().startswith(("esophagus", "oesophagus"))
        for name, kind in zip(labels.names, kinds, strict=True)
    ]
    classes = np.array([0, *(1 if organ else 3 for organ in organs)], np.uint8)
    return (_directions(_seen(numbers, classes, spacing_mm, BELLY_MM)) >= 3).astype(np.uint8)


def airway(
    numbers: UInt8[np.ndarray, "x y z"], labels: LabelSet, spacing_mm: tuple[float, float, float]
) -> UInt8[np.ndarray, "x y z"]:
    """The airway from the skull to the windpipe, in front of the vertebrae of the neck."""
    points = []
    for number, name in enumerate(labels.names, start=1):
        if re.fullmatch(r"vertebrae?_c\d", name.lower()):
            found = np.argwhere(numbers == number)
            if len(found):
                x, z = np.median(found[:, 0]), found[:, 2].mean()
                middle = found[np.abs(found[:, 0] - x) * spacing_mm[0] < 5]
                points.append((z, x, middle[:, 1].max() + _BEFORE_SPINE_MM / spacing_mm[1]))
    out = np.zeros(numbers.shape, np.uint8)
    if len(points) < 2:
        return out
    if "trachea" in labels and (found := np.argwhere(numbers == labels.channel("trachea") + 1)).size:
        top = found[found[:, 2] == found[:, 2].max()].mean(0)
        points = [point for point in points if point[0] > top[2] + 3] + [(top[2], top[0], top[1])]
    z, x, y = np.array(sorted(points)).T
    i, j = np.ogrid[: numbers.shape[0], : numbers.shape[1]]
    for k in range(int(z[0]), min(int(z[-1] + 12 / spacing_mm[2]), numbers.shape[2] - 1) + 1):
        a, b = ((i - np.interp(k, z, x)) * spacing_mm[0], (j - np.interp(k, z, y)) * spacing_mm[1])
        out[:, :, k] = (a / AIRWAY_MM[0]) ** 2 + (b / AIRWAY_MM[1]) ** 2 < 1
    return out


def _seen(
    numbers: UInt8[np.ndarray, "x y z"],
    classes: UInt8[np.ndarray, "n"],
    spacing_mm: tuple[float, float, float],
    far_mm: float,
) -> UInt8[np.ndarray, "x y z"]:
    """A bit for each of six directions in which an unlabelled voxel sees class 1 first; another for class 2 nearby."""
    seen = np.zeros(numbers.shape, np.uint8)
    if (classes == 1).any():
        around = classes[numbers]
        for axis in range(3):
            far, near = (round(mm / spacing_mm[axis]) for mm in (far_mm, BRAIN_MM))
            _look(np.moveaxis(around, axis, 2), np.moveaxis(seen, axis, 2), far, near, 1 << 2 * axis)
    return seen


def _directions(seen: UInt8[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "x y z"]:
    """Return in how many of the six directions class 1 is in sight."""
    return np.array([(bits & 63).bit_count() for bits in range(256)], np.uint8)[seen]


@kernel()
def _look(around: Any, seen: Any, far: Any, near: Any, bit: Any) -> None:
    """Along the last axis, both ways: unlabelled voxels that see bone, and those that see the brain close by."""
    nx, ny, nz = around.shape
    for i in range(nx):
        for j in range(ny):
            for turn in range(2):
                met, since = 0, 0
                for n in range(nz):
                    k = n if turn == 0 else nz - 1 - n
                    if around[i, j, k] > 0:
                        met, since = around[i, j, k], 0
                    else:
                        since += 1
                        seen[i, j, k] |= _bits(met, since, far, near, bit << turn)


@kernel()
def _bits(met: Any, since: Any, far: Any, near: Any, bit: Any) -> Any:
    """Return the bits to set `since` voxels behind a structure of class `met`."""
    if met == 1 and since <= far:
        return bit
    if met == 2 and since <= near:
        return 64
    return 0
