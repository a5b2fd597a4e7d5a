"""Profile of the body in a scan from feet to head: size, air, bone, and the part that the images cut off.

Levels are axial slices about 5 mm apart, on a grid about as coarse: fast, and enough to tell a chest from a head.
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
"""HU range of lungs, without air and most mattresses."""

LEAST_BODY_CM2, LEAST_BODY_SHARE = 12.0, 0.1
"""Minimum cross-section of a level with a body, also as a share of the largest; less is fingers or the table."""

MIDDLE = 0.15
"""Bone within this share of the body's width from its midline may be spine; other bone is lateral."""


@dataclass(frozen=True)
class BodyProfile:
    """Measurements of each level, from feet to head; zero where there is no body.

    Attributes:
        step_mm: Distance between levels in mm.
        area_cm2: `(n,)`, cross-section of the largest component of the body in cm2, with holes filled.
        width_mm: `(n,)`, extent from left to right in mm.
        depth_mm: `(n,)`, extent from back to front in mm.
        lung: `(n,)`, share of lung in the box around the body.
        bone: `(n,)`, share of bone in the cross-section.
        lateral: `(n,)`, share of the bone that is lateral.
        deep_mm: `(n,)`, median depth of lateral bone below the skin in mm.
        spine: `(n,)`, position of the bone near the midline: 0 at the back, 1 at the front; NaN if there is none.
        second: `(n,)`, area of the second largest component as a share of the largest.
        border: `(n,)`, share of the image's border that is body.
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
        """`(n,)`, whether each level shows a body."""
        return self.area_cm2 >= max(LEAST_BODY_CM2, LEAST_BODY_SHARE * float(self.area_cm2.max()))

    @property
    def extent_mm(self) -> tuple[float, float, float] | None:
        """Largest width and depth of the visible body, and its height, in mm; None without a body."""
        levels = np.flatnonzero(self.has_body)
        if levels.size == 0:
            return None
        high = (levels[-1] - levels[0] + 1) * self.step_mm
        return (round(float(self.width_mm.max()), 1), round(float(self.depth_mm.max()), 1), round(float(high), 1))

    @property
    def border_share(self) -> float:
        """Share of the images' border that is body, over the levels that show one."""
        return float(self.border[self.has_body].mean()) if self.has_body.any() else 0.0


def body_profile(volume: Volume) -> BodyProfile:
    """Measure the body in a scan at every level."""
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
    """Return the measurements of one level, in the order of `BodyProfile`."""
    from scipy import ndimage  # takes 0.2 s to import

    tissue = plane > NOT_AIR_HU
    opened = ndimage.binary_opening(tissue)  # removes thin table tops and sheets
    pieces, count = ndimage.label(opened)
    if not count:
        return (0.0,) * 7 + (np.nan, 0.0, 0.0)
    sizes = np.bincount(pieces.ravel())[1:]
    body = pieces == sizes.argmax() + 1
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
        float(np.partition(sizes, -2)[-2] / sizes.max()) if count > 1 else 0.0,
        _on_border(body),
    )


def _range(line: Bool[np.ndarray, " n"]) -> tuple[int, int]:
    inside = np.flatnonzero(line)
    return int(inside[0]), int(inside[-1]) + 1


def _depth(whole: Bool[np.ndarray, "x y"], part: Bool[np.ndarray, "x y"]) -> float:
    """Return the median taxicab distance of a part from the outside, in pixels; the image's border is outside."""
    from scipy import ndimage  # takes 0.2 s to import

    if not part.any():
        return 0.0
    return float(np.median(ndimage.distance_transform_cdt(np.pad(whole, 1), "taxicab")[1:-1, 1:-1][part]))


def _on_border(body: Bool[np.ndarray, "x y"]) -> float:
    border = np.concatenate([body[0], body[-1], body[:, 0], body[:, -1]])
    return float(border.mean())
