"""The body in a scan, level by level from feet to head: how large, how much air and bone, and what of it is cut off.

Levels are axial slices about 5 mm apart, on a grid about as coarse: enough to tell a chest from a head, and quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16

from tomoseg.checks.values import BONE_HU, NOT_AIR_HU
from tomoseg.volume import Volume

COARSE_MM = 5.0
LUNG_HU = (-950, -550)
"""Lungs, but neither air nor most mattresses."""

LEAST_BODY_CM2, LEAST_BODY_SHARE = 12.0, 0.1
"""Levels with less, or with less than this part of the largest one, show fingers, or pieces of a table."""

MIDDLE = 0.15
"""Bone within this part of the body's width of its middle may be spine, other bone is lateral."""


@dataclass(frozen=True)
class BodyProfile:
    """What is seen at each level, from feet to head; zero where there is no body.

    Attributes:
        step_mm: Distance of levels.
        area_cm2: Cross-section of the largest piece of body, its inside filled.
        width_mm: From left to right.
        depth_mm: From back to front.
        lung: Share of lung in the box around the body.
        bone: Share of bone in the cross-section.
        lateral: Share of bone that lies to the sides.
        deep_mm: How deep that bone lies under the skin, in the median.
        spine: Where the bone in the middle lies: 0 at the back, 1 at the front; NaN where there is none.
        second: Area of the second largest piece as a share of the largest one's.
        border: Share of the picture's border that is body.
    """

    step_mm: float
    area_cm2: Float64[np.ndarray, " n"]
    width_mm: Float64[np.ndarray, " n"]
    depth_mm: Float64[np.ndarray, " n"]
    lung: Float64[np.ndarray, " n"]
    bone: Float64[np.ndarray, " n"]
    lateral: Float64[np.ndarray, " n"]
    deep_mm: Float64[np.ndarray, " n"]
    spine: Float64[np.ndarray, " n"]
    second: Float64[np.ndarray, " n"]
    border: Float64[np.ndarray, " n"]

    @property
    def has_body(self) -> Bool[np.ndarray, " n"]:
        """Which levels show a body."""
        return self.area_cm2 >= max(LEAST_BODY_CM2, LEAST_BODY_SHARE * float(self.area_cm2.max()))

    @property
    def extent_mm(self) -> tuple[float, float, float] | None:
        """How wide, deep and high the body is at most, as far as it is seen."""
        levels = np.flatnonzero(self.has_body)
        if levels.size == 0:
            return None
        high = (levels[-1] - levels[0] + 1) * self.step_mm
        return (round(float(self.width_mm.max()), 1), round(float(self.depth_mm.max()), 1), round(float(high), 1))

    @property
    def border_share(self) -> float:
        """Share of the picture's border that is body, over the levels that show one."""
        return float(self.border[self.has_body].mean()) if self.has_body.any() else 0.0


def body_profile(volume: Volume) -> BodyProfile:
    """Measure the body of a scan in HU at every level."""
    steps = [max(1, round(COARSE_MM / edge)) for edge in volume.spacing_mm]
    edges = [step * edge for step, edge in zip(steps, volume.spacing_mm, strict=True)]
    coarse = volume.hu[
        tuple(slice(min(step // 2, n - 1), None, step) for step, n in zip(steps, volume.shape, strict=True))
    ]
    levels = [_level(plane, (edges[0], edges[1])) for plane in _planes(coarse)]
    columns = np.array(levels, np.float64).T
    return BodyProfile(edges[2], *columns)


def _planes(coarse: Int16[np.ndarray, "x y z"]) -> Iterator[Int16[np.ndarray, "x y"]]:
    yield from np.ascontiguousarray(coarse.transpose(2, 0, 1))


def _level(plane: Int16[np.ndarray, "x y"], edges_mm: tuple[float, float]) -> tuple[float, ...]:
    """The numbers of `BodyProfile` at one level."""
    from scipy import ndimage  # takes 0.2 s to import

    tissue = plane > NOT_AIR_HU
    opened = ndimage.binary_opening(tissue)  # lets go of thin table tops and sheets
    pieces, count = ndimage.label(opened)
    if not count:
        return (0.0,) * 7 + (np.nan, 0.0, 0.0)
    sizes = np.sort(np.bincount(pieces.ravel())[1:])
    body = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    whole = ndimage.binary_fill_holes(body)
    (x0, x1), (y0, y1) = (_range(whole.any(axis=axis)) for axis in (1, 0))
    box = plane[x0:x1, y0:y1]
    lung = ndimage.binary_opening((box > LUNG_HU[0]) & (box < LUNG_HU[1]))
    bone = whole & (plane > BONE_HU)
    across = np.abs(np.arange(plane.shape[0]) - (x0 + x1 - 1) / 2) > MIDDLE * (x1 - x0)
    lateral, middle = bone & across[:, None], bone & ~across[:, None]
    return (
        float(whole.sum()) * edges_mm[0] * edges_mm[1] / 100,
        (x1 - x0) * edges_mm[0],
        (y1 - y0) * edges_mm[1],
        float(lung.mean()),
        float(bone.sum() / whole.sum()),
        float(lateral.sum() / max(1, bone.sum())),
        _depth(whole, lateral) * edges_mm[0],
        float((np.nonzero(middle)[1].mean() - y0) / (y1 - y0)) if middle.sum() >= 4 else np.nan,
        float(sizes[-2] / sizes[-1]) if count > 1 else 0.0,
        _on_border(body),
    )


def _range(line: Bool[np.ndarray, " n"]) -> tuple[int, int]:
    inside = np.flatnonzero(line)
    return int(inside[0]), int(inside[-1]) + 1


def _depth(whole: Bool[np.ndarray, "x y"], part: Bool[np.ndarray, "x y"]) -> float:
    """Median distance of a part from the outside, in voxels; the picture's border is outside."""
    from scipy import ndimage  # takes 0.2 s to import

    if not part.any():
        return 0.0
    return float(np.median(ndimage.distance_transform_cdt(np.pad(whole, 1), "taxicab")[1:-1, 1:-1][part]))


def _on_border(body: Bool[np.ndarray, "x y"]) -> float:
    border = np.concatenate([body[0], body[-1], body[:, 0], body[:, -1]])
    return float(border.mean())
