"""Tubes swept along splines, and curved slabs made of rows of them: vessels, bowel, ribs, blades, flat muscles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32
from scipy.interpolate import CubicSpline

from tomoseg.kernels import kernel
from tomoseg.phantom.shapes import Block, Shape, SurfaceRelief

FAR_MM = 100.0
"""Distance of a tube beyond its reach, in mm."""

Path = Sequence[Sequence[float]]
"""Control points: rows of x, y, z and radius or half thickness in body mm."""


@dataclass(frozen=True)
class TubeField:
    """Fields of a tube at voxels.

    Attributes:
        distance: Distance to its surface in mm, negative inside.
        along: Position along it, 0 to 1.
        height: Height over its axis in mm.
    """

    distance: Float32[np.ndarray, "x y z"]
    along: Float32[np.ndarray, "x y z"]
    height: Float32[np.ndarray, "x y z"]


@dataclass(frozen=True)
class Tubes:
    """Round cones between pairs of body points: swept tubes, and sheets made of rows of them.

    Attributes:
        starts: `(n, 3)` body mm.
        ends: `(n, 3)` body mm.
        radii: `(n, 2)` mm at start and end.
        along: `(n, 2)` position at start and end.
        flatten: Ratio of the tube's width to its radius along the scanner's x, y and z.
        reach: Distance outside the surface up to which distances are computed, in mm.
    """

    starts: Float[np.ndarray, "n 3"]
    ends: Float[np.ndarray, "n 3"]
    radii: Float[np.ndarray, "n 2"]
    along: Float[np.ndarray, "n 2"]
    flatten: tuple[float, float, float] = (1.0, 1.0, 1.0)
    reach: float = 9.0
    lumps: SurfaceRelief | None = field(default=None)

    def field(self, block: Block) -> TubeField:
        """Distance, position and height at the voxels of a block."""
        distance = np.full(block.shape, FAR_MM, np.float32)
        along = np.zeros(block.shape, np.float32)
        height = np.zeros(block.shape, np.float32)
        stretch = np.asarray(self.flatten)
        width = float(np.mean(block.frame.scale[:2]))
        starts, ends = (block.frame.to_scanner(points) / stretch for points in (self.starts, self.ends))
        axes = tuple(axis / s for axis, s in zip(block.axes, stretch, strict=True))
        cones = (starts, ends, self.radii * width, self.along)
        _round_cones(axes, cones, self.reach, (distance, along, height))
        if self.lumps is not None:
            distance += self.lumps(block)
        return TubeField(distance, along, height)

    @property
    def shape(self) -> Shape:
        """The tubes as a shape."""
        widest = self.radii.max(1, keepdims=True) * np.asarray(self.flatten)
        low = np.minimum(self.starts, self.ends) - widest
        high = np.maximum(self.starts, self.ends) + widest
        return Shape(low.min(0), high.max(0), lambda block: self.field(block).distance)


def tube_field(
    points: Path,
    flatten: tuple[float, float, float] = (1.0, 1.0, 1.0),
    step: float = 6.0,
    reach: float = 9.0,
    lumps: SurfaceRelief | None = None,
) -> Tubes:
    """A tube along a spline.

    Args:
        points: Rows of x, y, z and radius in body mm.
        flatten: See `Tubes`.
        step: Approximate length of one straight piece in mm.
        reach: See `Tubes`.
        lumps: Relief of the surface.
    """
    rows = spline(np.asarray(points, float), step)
    along = np.linspace(0, 1, len(rows))
    return Tubes(
        rows[:-1, :3],
        rows[1:, :3],
        np.stack([rows[:-1, 3], rows[1:, 3]], 1),
        np.stack([along[:-1], along[1:]], 1),
        flatten,
        reach,
        lumps,
    )


def tube(
    points: Path,
    flatten: tuple[float, float, float] = (1.0, 1.0, 1.0),
    step: float = 6.0,
    reach: float = 9.0,
    lumps: SurfaceRelief | None = None,
) -> Shape:
    """Return the shape of a `tube_field`."""
    return tube_field(points, flatten, step, reach, lumps).shape


def sheet(grid: Sequence[Path], step: float = 5.0, lumps: SurfaceRelief | None = None) -> Shape:
    """A curved slab.

    Args:
        grid: Rows of control points, each x, y, z and half the thickness there; all rows of one length.
        step: Approximate distance of the rows of tubes that fill it, in mm.
        lumps: Relief of the surface.
    """
    points = np.asarray(grid, float)
    for _ in range(2):  # first more rows, then more points in each
        length = np.linalg.norm(np.diff(points[..., :3], axis=0), axis=2).sum(0).max()
        points = np.swapaxes(_resample(points, max(2, int(length / step) + 1)), 0, 1)
    starts, ends = points[:, :-1].reshape(-1, 4), points[:, 1:].reshape(-1, 4)
    radii = np.stack([starts[:, 3], ends[:, 3]], 1)
    return Tubes(starts[:, :3], ends[:, :3], radii, np.zeros_like(radii), lumps=lumps).shape


def spline(points: Float[np.ndarray, "n c"], step: float) -> Float[np.ndarray, "m c"]:
    """Return points about `step` mm apart along a smooth curve through the given ones."""
    length = np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1)
    return _resample(points, max(2, int(length.sum() / step) + 1))


def mirrored(points: Path, side: int) -> list[list[float]]:
    """Return points, given for the right side (x > 0), for the right (side 1) or the left (side -1)."""
    return [[side * row[0], *row[1:]] for row in points]


def _resample(points: Float[np.ndarray, "n ..."], number: int) -> Float[np.ndarray, "m ..."]:
    if len(points) < 2:
        return points
    flat = points[..., :3].reshape(len(points), -1)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(flat, axis=0), axis=1) + 1e-6)])
    curve = CubicSpline(along, points, bc_type="natural")
    resampled: Float[np.ndarray, "m ..."] = curve(np.linspace(0, along[-1], number))
    resampled[..., 3:] = np.maximum(resampled[..., 3:], points[..., 3:].min())
    return resampled


@kernel()
def _round_cones(axes, cones, reach, out):  # type: ignore[no-untyped-def]
    """Distance to the nearest of many round cones, only where it is within reach."""
    xs, ys, zs = axes
    starts, ends, radii, along = cones
    distance, position, height = out
    for n in range(starts.shape[0]):
        ax, ay, az = starts[n]
        ux, uy, uz = ends[n, 0] - ax, ends[n, 1] - ay, ends[n, 2] - az
        squared = ux * ux + uy * uy + uz * uz + 1e-9
        margin = max(radii[n, 0], radii[n, 1]) + reach
        i0 = np.searchsorted(xs, min(ax, ax + ux) - margin)
        i1 = np.searchsorted(xs, max(ax, ax + ux) + margin)
        j0 = np.searchsorted(ys, min(ay, ay + uy) - margin)
        j1 = np.searchsorted(ys, max(ay, ay + uy) + margin)
        k0 = np.searchsorted(zs, min(az, az + uz) - margin)
        k1 = np.searchsorted(zs, max(az, az + uz) + margin)
        for i in range(i0, i1):
            px = xs[i] - ax
            for j in range(j0, j1):
                py = ys[j] - ay
                for k in range(k0, k1):
                    pz = zs[k] - az
                    t = (px * ux + py * uy + pz * uz) / squared
                    t = min(max(t, 0.0), 1.0)
                    dx, dy, dz = px - t * ux, py - t * uy, pz - t * uz
                    d = np.sqrt(dx * dx + dy * dy + dz * dz) - (radii[n, 0] + t * (radii[n, 1] - radii[n, 0]))
                    if d < distance[i, j, k]:
                        distance[i, j, k] = d
                        position[i, j, k] = along[n, 0] + t * (along[n, 1] - along[n, 0])
                        height[i, j, k] = dy
