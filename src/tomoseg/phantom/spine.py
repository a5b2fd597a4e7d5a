"""Vertebrae, discs, sacrum, spinal canal, and the deep muscles of the back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32

from tomoseg.phantom.body import SIDES, VERTEBRAE, Body, spine_y
from tomoseg.phantom.canvas import Canvas
from tomoseg.phantom.shapes import Block, Shape, ellipsoid, union
from tomoseg.phantom.tubes import Tubes, sheet, tube

_ORDER = tuple(VERTEBRAE)
# height of the middle: half width, half depth of the body; half distance of the pedicles
_SIZES = {
    "S1": (25, 16.5, 16), "L5": (26, 17.5, 16), "L3": (25, 17.5, 15), "L1": (23, 16.5, 14), "T12": (22, 16, 13.5),
    "T8": (17, 15, 12.5), "T4": (15, 12.5, 12.5), "T1": (16, 10, 14), "C7": (14, 9, 14.5), "C3": (12, 9, 15),
    "C1": (11, 8, 16),
}  # fmt: skip
_KNOTS = [VERTEBRAE[name] for name in _SIZES]
_VALUES = np.array(list(_SIZES.values()), float)
_SACRUM_ROWS = [(97, 34, 12.5), (84, 50, 14), (62, 50, 12.5), (40, 38, 10.5), (18, 24, 8.5), (-2, 14, 6.5), (-24, 6, 4)]


def vertebra_size(z: float) -> tuple[float, float, float]:
    """Return half width and half depth of the vertebral body, and half the distance of the pedicles, at a height."""
    width, depth, pedicle = (float(np.interp(z, _KNOTS, column)) for column in _VALUES.T)
    return width, depth, pedicle


def canal_y(z: float) -> float:
    """Return y in mm of the centre of the spinal canal at a height."""
    return float(spine_y(z)) - vertebra_size(z)[1] - 10.0


def paint_back_muscles(canvas: Canvas, body: Body) -> None:
    """The autochthonous muscles, beside the spinous processes from sacrum to skull."""
    grow = body.placed("autochthon", scale=0.07).scale
    for side_name, side in SIDES:
        rows = []
        for z, x, radius, back in (
            (35, 20, 9, 22), (70, 27, 14, 26), (110, 32, 19, 33), (160, 35, 20.5, 38), (220, 36, 20.5, 39),
            (280, 34, 18.5, 38), (340, 31, 16, 38), (420, 28, 14, 38), (500, 26, 13.5, 35), (550, 23, 14, 32),
            (600, 20, 14.5, 32), (650, 21, 14.5, 32), (678, 24, 11, 30),
        ):  # fmt: skip
            rows.append([side * x * (0.5 + 0.5 * grow), float(spine_y(z)) - back - 4, z, radius * grow])
        canvas.paint(tube(rows, flatten=(1.28, 1.0, 1.0)), "muscle", f"autochthon_{side_name}", halo=2.2)


def paint_spine(canvas: Canvas, body: Body) -> None:
    """Sacrum, discs, vertebrae from L5 to C1, then canal and cord."""
    sacrum = _sacrum()
    canvas.paint(sacrum, "bone", "sacrum", halo=1.5)
    for lower, upper in pairwise(_ORDER[:-1]):
        canvas.paint(_disc(VERTEBRAE[lower], VERTEBRAE[upper]), "disc", None)
    for name in _ORDER[1:]:
        canvas.paint(_vertebra(name), "bone", f"vertebrae_{name}", halo=1.2)
    _paint_canal(canvas)
    canvas.mark(_first_sacral(), "vertebrae_S1", of="sacrum")


def _paint_canal(canvas: Canvas) -> None:
    heights = np.array([40.0, 75, 115, 190, 260, 330, 400, 470, 540, 600, 650, 690])
    rows = [[0.0, canal_y(z), z] for z in heights]
    canal = [
        [*row, radius]
        for row, radius in zip(rows, np.interp(heights, [40, 115, 260, 400, 690], [4, 9.5, 9, 8, 10]), strict=True)
    ]
    cord = [
        [*row, radius]
        for row, radius in zip(rows, np.interp(heights, [40, 115, 260, 400, 690], [3, 7, 6.5, 5.8, 7]), strict=True)
    ]
    canvas.paint(tube(canal, flatten=(1.15, 1, 1)), "fat", None)
    canvas.paint(tube(cord, flatten=(1.12, 1, 1)), "cord", "spinal_cord")


def _half_height(name: str) -> float:
    at = _ORDER.index(name)
    above = VERTEBRAE[_ORDER[min(at + 1, len(_ORDER) - 1)]]
    below = VERTEBRAE[_ORDER[at - 1]]
    return 0.39 * (above - below) / (2 if at + 1 < len(_ORDER) else 1)


def _slope(z: float) -> float:
    return float(np.arctan2(spine_y(z + 6) - spine_y(z - 6), 12.0))


def _local(z: float, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Map points from a vertebra's own axes to the body's."""
    cosine, sine = np.cos(_slope(z)), np.sin(_slope(z))
    x, y, up = np.moveaxis(points, -1, 0)
    return np.stack([x, float(spine_y(z)) + y * cosine + up * sine, z - y * sine + up * cosine], -1)


def _cylinder(z: float, half_width: float, half_depth: float, half_height: float) -> Shape:
    """A vertebral body: an upright drum with a slightly concave back."""
    cosine, sine = np.float32(np.cos(_slope(z))), np.float32(np.sin(_slope(z)))
    middle = float(spine_y(z))

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        x, y, up = block.body
        y, up = y - np.float32(middle), up - np.float32(z)
        depth, height = y * cosine - up * sine, np.abs(y * sine + up * cosine)
        across = np.abs(x) / np.float32(half_width)
        waist = 1 + np.float32(0.10) * (height / np.float32(half_height)).clip(0, 1) ** 2
        radius = (np.sqrt(across**2 + (depth / np.float32(half_depth)) ** 2) / waist - 0.93) * np.float32(half_depth)
        return np.maximum(radius, height - np.float32(half_height))

    reach = np.array([half_width * 1.1, half_depth * 1.1 + half_height * 0.7, half_height + half_depth * 0.7])
    centre = np.array([0, middle, z])
    return Shape(centre - reach, centre + reach, distance)


def _disc(lower: float, upper: float) -> Shape:
    z = (lower + upper) / 2
    width, depth, _ = vertebra_size(z)
    return _cylinder(z, width * 1.02, depth * 1.02, 0.26 * (upper - lower))


def _vertebra(name: str) -> Shape:
    z = VERTEBRAE[name]
    width, depth, pedicle = vertebra_size(z)
    half = _half_height(name)
    if name == "C1":
        return _atlas(z)
    arch = _arch(name, z, depth, pedicle)
    drum = _cylinder(z, width, depth, half)
    if name == "C2":
        tooth = _local(z, np.array([[0, 1.0, 0], [0, 2.0, 24]]))
        dens = tube([[*tooth[0], 6.0], [*tooth[1], 5.0]])
        return union(drum, arch, dens, smooth=4)
    return union(drum, arch, smooth=4)


def _arch(name: str, z: float, depth: float, pedicle: float) -> Shape:
    """Pedicles, laminae, facets, transverse and spinous processes."""
    region = name[0]
    thick = {"L": 5.0, "T": 4.2, "C": 3.6}[region]
    spine_back, spine_down = {"L": (27, -4), "T": (23, -20), "C": (20, -7)}[region]
    out, out_back, out_up = {"L": (25, -4, 0), "T": (19, -14, 4), "C": (11, 6, 0)}[region]
    facet = {"L": 13.0, "T": 9.0, "C": 6.5}[region]
    root = -depth - 10
    pieces: list[tuple[list[float], list[float], float, float]] = []
    for side in (1, -1):
        pieces += [
            ([side * (pedicle - 1), -depth + 4, 3], [side * (pedicle + 1), root, 2], thick + 1, thick),
            ([side * (pedicle + 1), root - 1, 1], [0, root - 15, -3], thick, thick),
            ([side * (pedicle + 2), root - 2, facet], [side * (pedicle + 2), root - 4, -facet], thick, thick),
            ([side * (pedicle + 1), root, 2], [side * (pedicle + out), root + out_back, out_up], thick, thick - 0.8),
        ]
    pieces.append(([0, root - 14, -3], [0, root - 15 - spine_back, -3 + spine_down], thick, thick - 0.3))
    ends = _local(z, np.array([[start, end] for start, end, _, _ in pieces], float))
    radii = np.array([[first, last] for _, _, first, last in pieces])
    return Tubes(ends[:, 0], ends[:, 1], radii, np.zeros_like(radii)).shape


def _atlas(z: float) -> Shape:
    ring = []
    for degrees in np.linspace(0, 360, 17):
        angle = np.deg2rad(degrees)
        y = 17 * np.sin(angle)
        ring.append([*_local(z, np.array([19 * np.cos(angle), y - 10 + 5, -1.0])), 4.2])
    masses = []
    for side in (1, -1):
        x, y, up = _local(z, np.array([side * 19.0, -2, 0]))
        masses.append(ellipsoid((x, y, up), (8.5, 9, 7)))
        wing = _local(z, np.array([[side * 22.0, -4, 0], [side * 36.0, -6, -1]]))
        masses.append(tube([[*wing[0], 5], [*wing[1], 4]]))
    return union(tube(ring, step=4), *masses, smooth=3)


def _sacrum() -> Shape:
    grid = []
    for z, width, thick in _SACRUM_ROWS:
        y = float(spine_y(z))
        grid.append(
            [
                [-width, y - 0.16 * width, z, thick * 0.85], [-width / 2, y - 3, z, thick * 0.9], [0, y, z, thick],
                [width / 2, y - 3, z, thick * 0.9], [width, y - 0.16 * width, z, thick * 0.85],
            ]
        )  # fmt: skip
    crest = tube([[0, float(spine_y(z)) - back, z, 5] for z, back in ((88, 36), (60, 30), (30, 20), (5, 11))])
    return union(sheet(grid, step=6), _cylinder(VERTEBRAE["S1"] + 2, 25, 16.5, 13), crest, smooth=5)


def _first_sacral() -> Shape:
    z = VERTEBRAE["S1"]
    slope = _slope(z)
    middle = float(spine_y(z))

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        _, y, up = block.body
        along = (y - np.float32(middle)) * np.float32(np.sin(slope)) + (up - np.float32(z)) * np.float32(np.cos(slope))
        return np.float32(-12) - along

    return Shape(np.array([-75, middle - 50, z - 50]), np.array([75, middle + 40, z + 50]), distance)
