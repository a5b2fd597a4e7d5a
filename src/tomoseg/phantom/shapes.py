"""Implicit shapes: signed distances, negative inside, in approximate mm near the surface.

Each shape has a bounding box in the body, outside which it is not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32

from tomoseg.phantom.frame import Frame


@dataclass(frozen=True)
class Block:
    """A box of the scan's grid with the coordinates of its voxels.

    Attributes:
        frame: Position of the body in the scanner.
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
    """A shape with its bounding box in the body."""

    low: Float[np.ndarray, "3"]
    high: Float[np.ndarray, "3"]
    distance: Distance


@dataclass(frozen=True)
class SurfaceRelief:
    """A smooth random relief added to a surface, so that organs are not ideal ellipsoids.

    Attributes:
        amplitude: Largest relief in mm.
        waves: `(n, 3)` angular frequencies per mm.
        phases: `(n, 3)` radians.
    """

    amplitude: float
    waves: Float[np.ndarray, "n 3"]
    phases: Float[np.ndarray, "n 3"]

    @classmethod
    def draw(cls, rng: np.random.Generator, amplitude: float, wavelength: float) -> SurfaceRelief:
        """Draw a relief; amplitude and approximate wavelength in mm."""
        waves = 2 * np.pi / (wavelength * rng.uniform(0.75, 1.5, (3, 3)))
        return cls(amplitude, waves, rng.uniform(0, 2 * np.pi, (3, 3)))

    def __call__(self, block: Block) -> Float32[np.ndarray, "x y z"]:
        """Return the relief at the voxels in mm: products of sines along the scanner's axes."""
        total = np.zeros(block.shape, np.float32)
        for waves, phases in zip(self.waves, self.phases, strict=True):
            x, y, z = (
                np.sin(axis * w + p).astype(np.float32) for axis, w, p in zip(block.axes, waves, phases, strict=True)
            )
            total += x[:, None, None] * (y[:, None] * z)
        return total * np.float32(self.amplitude / 1.5)


def rotation(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Float[np.ndarray, "3 3"]:
    """Return the matrix of a rotation about x, then y, then z, in degrees."""
    (cx, sx), (cy, sy), (cz, sz) = ((np.cos(a), np.sin(a)) for a in np.deg2rad([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def ellipsoid(
    centre: Sequence[float],
    radii: Sequence[float],
    turn: Float[np.ndarray, "3 3"] | None = None,
    lumps: SurfaceRelief | None = None,
) -> Shape:
    """An ellipsoid; `turn` rotates its axes."""
    middle, half = np.asarray(centre, float), np.asarray(radii, float)
    axes = np.eye(3) if turn is None else turn
    extent = np.sqrt(((axes * half) ** 2).sum(1)) + (0.0 if lumps is None else lumps.amplitude)

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        offsets = [b - np.float32(m) for b, m in zip(block.body, middle, strict=True)]
        tiny = 1e-9  # keeps the centre finite
        scaled = np.full(block.shape, tiny, np.float32)
        slope = np.full(block.shape, tiny / half.min() ** 2, np.float32)
        for column, radius in zip(axes.T.astype(np.float32), half.astype(np.float32), strict=True):
            along = (column[0] * offsets[0] + column[1] * offsets[1] + column[2] * offsets[2]) / radius
            along *= along
            scaled += along
            slope += along / radius**2
        np.sqrt(scaled, out=scaled)
        result = scaled * (scaled - 1) / np.sqrt(slope)
        return result if lumps is None else result + lumps(block)

    return Shape(middle - extent, middle + extent, distance)


def union(*shapes: Shape, smooth: float = 0.0) -> Shape:
    """Return the union of shapes; `smooth` mm rounds the creases between them."""

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        result = shapes[0].distance(block)
        for shape in shapes[1:]:
            result = nearer(result, shape.distance(block), smooth)
        return result

    return Shape(
        np.min([s.low for s in shapes], 0) - smooth / 4, np.max([s.high for s in shapes], 0) + smooth / 4, distance
    )


def nearer(
    one: Float32[np.ndarray, "*shape"], other: Float32[np.ndarray, "*shape"], smooth: float = 0.0
) -> Float32[np.ndarray, "*shape"]:
    """Return the smaller of two distances; `smooth` mm rounds the crease between the surfaces."""
    result = np.minimum(one, other)
    if smooth > 0:
        near = np.maximum(smooth - np.abs(one - other), 0, dtype=np.float32)
        result -= near * near * np.float32(0.25 / smooth)
    return result


def within(shape: Shape, limit: Distance) -> Shape:
    """The part of a shape that lies inside another surface."""
    return Shape(shape.low, shape.high, lambda block: np.maximum(shape.distance(block), limit(block)))


def without(shape: Shape, hole: Distance) -> Shape:
    """The part of a shape that lies outside another surface."""
    return within(shape, lambda block: -hole(block))
