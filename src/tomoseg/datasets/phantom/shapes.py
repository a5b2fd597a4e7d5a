"""Implicit shapes: functions that are negative inside, positive outside, and about millimetres near the surface.

Each shape knows a box of the body that holds it, so that it is evaluated nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32
from numba import njit
from scipy.interpolate import CubicSpline

from tomoseg.datasets.phantom.frame import Frame

FAR_MM = 100.0
"""Distance that a tube reports beyond its reach."""


@dataclass(frozen=True)
class Block:
    """A box of the scan's grid with the coordinates of its voxels.

    Attributes:
        frame: How the body lies.
        axes: Scanner mm along x, y and z.
    """

    frame: Frame
    axes: tuple[Float[np.ndarray, "x"], Float[np.ndarray, "y"], Float[np.ndarray, "z"]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the axes."""
        return (self.axes[0].size, self.axes[1].size, self.axes[2].size)

    @cached_property
    def body(self) -> tuple[Float32[np.ndarray, "x y z"], Float32[np.ndarray, "x y z"], Float32[np.ndarray, "x y z"]]:
        """Body coordinates x, y, z of the voxels."""
        return self.frame.to_body(*self.axes)


Distance = Callable[[Block], Float32[np.ndarray, "x y z"]]


@dataclass(frozen=True)
class Shape:
    """A shape with the box of the body that holds it."""

    low: Float[np.ndarray, "3"]
    high: Float[np.ndarray, "3"]
    distance: Distance


@dataclass(frozen=True)
class Lumps:
    """A smooth random relief added to a surface, so that organs are no ideal ellipsoids.

    Attributes:
        amplitude: Largest relief in mm.
        waves: `(n, 3)` angular frequencies per mm.
        phases: `(n, 3)` radians.
    """

    amplitude: float
    waves: Float[np.ndarray, "n 3"]
    phases: Float[np.ndarray, "n 3"]

    @classmethod
    def draw(cls, rng: np.random.Generator, amplitude: float, wavelength: float) -> Lumps:
        """Relief of about one wavelength in mm."""
        waves = 2 * np.pi / (wavelength * rng.uniform(0.75, 1.5, (3, 3)))
        return cls(amplitude, waves, rng.uniform(0, 2 * np.pi, (3, 3)))

    def __call__(self, block: Block) -> Float32[np.ndarray, "x y z"]:
        """The relief at the voxels; products of sines along the scanner's axes."""
        total = np.zeros(block.shape, np.float32)
        for waves, phases in zip(self.waves, self.phases, strict=True):
            x, y, z = (
                np.sin(axis * w + p).astype(np.float32) for axis, w, p in zip(block.axes, waves, phases, strict=True)
            )
            total += x[:, None, None] * (y[:, None] * z)
        return total * np.float32(self.amplitude / 1.5)


def rotation(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Float[np.ndarray, "3 3"]:
    """Rotation by degrees about x, then y, then z."""
    (cx, sx), (cy, sy), (cz, sz) = ((np.cos(a), np.sin(a)) for a in np.deg2rad([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def ellipsoid(
    centre: Sequence[float],
    radii: Sequence[float],
    turn: Float[np.ndarray, "3 3"] | None = None,
    lumps: Lumps | None = None,
) -> Shape:
    """An ellipsoid; `turn` rotates its axes."""
    middle, half = np.asarray(centre, float), np.asarray(radii, float)
    axes = np.eye(3) if turn is None else turn
    extent = np.sqrt(((axes * half) ** 2).sum(1)) + (0.0 if lumps is None else lumps.amplitude)

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        offsets = [b - np.float32(m) for b, m in zip(block.body, middle, strict=True)]
        scaled = np.zeros(block.shape, np.float32)
        slope = np.zeros(block.shape, np.float32)
        for column, radius in zip(axes.T.astype(np.float32), half.astype(np.float32), strict=True):
            along = (column[0] * offsets[0] + column[1] * offsets[1] + column[2] * offsets[2]) / radius
            along *= along
            scaled += along
            slope += along / radius**2
        np.sqrt(scaled, out=scaled)
        result = scaled * (scaled - 1) / np.sqrt(slope + np.float32(1e-9))
        return result if lumps is None else result + lumps(block)

    return Shape(middle - extent, middle + extent, distance)


@dataclass(frozen=True)
class TubeField:
    """What a tube tells about voxels: distance to the surface, position along it (0 to 1), height over its axis in mm."""

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
        flatten: How much wider than its radius the tube is along the scanner's x, y and z.
        reach: How far outside the surface distances are wanted, in mm.
    """

    starts: Float[np.ndarray, "n 3"]
    ends: Float[np.ndarray, "n 3"]
    radii: Float[np.ndarray, "n 2"]
    along: Float[np.ndarray, "n 2"]
    flatten: tuple[float, float, float] = (1.0, 1.0, 1.0)
    reach: float = 9.0
    lumps: Lumps | None = field(default=None)

    def field(self, block: Block) -> TubeField:
        """Distance, position and height at the voxels of a block."""
        distance = np.full(block.shape, FAR_MM, np.float32)
        along = np.zeros(block.shape, np.float32)
        height = np.zeros(block.shape, np.float32)
        stretch = np.asarray(self.flatten)
        width = float(np.mean(block.frame.scale[:2]))
        _round_cones(
            *(axis / s for axis, s in zip(block.axes, stretch, strict=True)),
            block.frame.to_scanner(self.starts) / stretch,
            block.frame.to_scanner(self.ends) / stretch,
            self.radii * width,
            self.along,
            self.reach,
            (distance, along, height),
        )
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
    points: Sequence[Sequence[float]],
    flatten: tuple[float, float, float] = (1.0, 1.0, 1.0),
    step: float = 6.0,
    reach: float = 9.0,
    lumps: Lumps | None = None,
) -> Tubes:
    """A tube along a spline.

    Args:
        points: Rows of x, y, z and radius in body mm.
        flatten: See `Tubes`.
        step: About the length of one straight piece in mm.
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
    points: Sequence[Sequence[float]],
    flatten: tuple[float, float, float] = (1.0, 1.0, 1.0),
    step: float = 6.0,
    reach: float = 9.0,
    lumps: Lumps | None = None,
) -> Shape:
    """As `tube_field`, as a shape."""
    return tube_field(points, flatten, step, reach, lumps).shape


def sheet(grid: Sequence[Sequence[Sequence[float]]], step: float = 5.0, lumps: Lumps | None = None) -> Shape:
    """A curved slab.

    Args:
        grid: Rows of control points, each x, y, z and half the thickness there; all rows of one length.
        step: About the distance of the rows of tubes that fill it, in mm.
        lumps: Relief of the surface.
    """
    control = np.asarray(grid, float)
    length = np.linalg.norm(np.diff(control[:, :, :3], axis=0), axis=2).sum(0).max()
    rows = _resample(control, max(2, int(length / step) + 1))
    pieces = np.concatenate([_segments(spline(row, step)) for row in rows])
    return Tubes(
        pieces[:, 0, :3],
        pieces[:, 1, :3],
        pieces[:, :, 3].copy(),
        np.zeros((len(pieces), 2)),
        lumps=lumps,
    ).shape


def spline(points: Float[np.ndarray, "n c"], step: float) -> Float[np.ndarray, "m c"]:
    """Points along a smooth curve through all given ones, about `step` mm apart."""
    length = np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1)
    return _resample(points, max(2, int(length.sum() / step) + 1))


def mirrored(points: Sequence[Sequence[float]], side: int) -> list[list[float]]:
    """Points given for the right side (x > 0), for the right (side 1) or the left (side -1)."""
    return [[side * row[0], *row[1:]] for row in points]


def union(*shapes: Shape, smooth: float = 0.0) -> Shape:
    """All shapes together; `smooth` mm rounds the creases between them."""

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        result = shapes[0].distance(block)
        for shape in shapes[1:]:
            other = shape.distance(block)
            if smooth > 0:
                near = np.maximum(smooth - np.abs(result - other), 0, dtype=np.float32)
                result = np.minimum(result, other) - near * near * np.float32(0.25 / smooth)
            else:
                result = np.minimum(result, other)
        return result

    return Shape(
        np.min([s.low for s in shapes], 0) - smooth / 4, np.max([s.high for s in shapes], 0) + smooth / 4, distance
    )


def within(shape: Shape, limit: Distance) -> Shape:
    """The part of a shape that lies inside another surface."""
    return Shape(shape.low, shape.high, lambda block: np.maximum(shape.distance(block), limit(block)))


def without(shape: Shape, hole: Distance) -> Shape:
    """The part of a shape that lies outside another surface."""
    return within(shape, lambda block: -hole(block))


def _resample(points: Float[np.ndarray, "n ..."], number: int) -> Float[np.ndarray, "m ..."]:
    if len(points) < 2:
        return points
    flat = points[..., :3].reshape(len(points), -1)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(flat, axis=0), axis=1) + 1e-6)])
    curve = CubicSpline(along, points, bc_type="natural")
    resampled: Float[np.ndarray, "m ..."] = curve(np.linspace(0, along[-1], number))
    resampled[..., 3:] = np.maximum(resampled[..., 3:], points[..., 3:].min())
    return resampled


def _segments(rows: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "m 2 c"]:
    return np.stack([rows[:-1], rows[1:]], 1)


@njit(cache=True)
def _round_cones(xs, ys, zs, starts, ends, radii, along, reach, out):  # type: ignore[no-untyped-def]
    """Distance to the nearest of many round cones, only where it is within reach."""
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
