"""Lungs with their lobes and vessels, trachea, oesophagus, heart."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from tomoseg.phantom.body import SIDES, Body
from tomoseg.phantom.canvas import KEEP, Canvas
from tomoseg.phantom.shapes import Block, Distance, Shape, SurfaceRelief, ellipsoid, rotation, union, within
from tomoseg.phantom.trunk import cavity
from tomoseg.phantom.tubes import Path, Tubes, spline, tube

_DOME = {1: 390.0, -1: 377.0}
_PLEURA_MM = 0.9
"""Half thickness of a fissure: thinner than a voxel, it only raises the HU of the voxels that it crosses."""

_AXIS = rotation(y=-25, z=-34)


def diaphragm(body: Body, side: int) -> Distance:
    """Return the distance above the dome of one side in mm, negative below."""
    rng = body.rng("diaphragm")
    top = _DOME[side] + body.lift + float(rng.normal(0, 4, 2)[(side + 1) // 2])

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        x, y, z = block.body
        across = (x - np.float32(side * 60)) / np.float32(72)
        back = (y + np.float32(12)) / np.where(y < -12, np.float32(76), np.float32(98))
        result: Float32[np.ndarray, "x y z"] = (
            z - np.float32(top) + np.float32(74) * (across**2 + back**2)
        ) * np.float32(0.8)
        return result

    return distance


def below_diaphragm(body: Body) -> Distance:
    """Distance to the space below both domes, negative inside."""
    domes = [diaphragm(body, side) for _, side in SIDES]

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        return np.minimum(domes[0](block), domes[1](block)) + np.float32(3.5)

    return distance


def paint_lungs(canvas: Canvas, body: Body) -> None:
    """The five lobes, with fissures between them and vessels in them."""
    rng = body.rng("lungs")
    canvas.paint(_diaphragm_muscle(body), "muscle", None)
    tilt = rng.normal(0, 5, 3)
    for name, side in SIDES:
        lung = _lung(body, side)
        oblique = _plane((486 if side < 0 else 480) + tilt[0], -1.04, SurfaceRelief.draw(rng, 5, 110))
        level = _plane(432 + tilt[1], 0.06, SurfaceRelief.draw(rng, 4, 110))
        for box, block in canvas.blocks(lung):
            inside, above = lung.distance(block), oblique(block)
            canvas.fill(box, inside, "lung", f"lung_upper_lobe_{name}")
            canvas.fill(box, np.maximum(inside, above), "lung", f"lung_lower_lobe_{name}")
            fissure = np.abs(above)
            if side > 0:
                over = level(block)
                canvas.fill(box, np.maximum(np.maximum(inside, -above), over), "lung", "lung_middle_lobe_right")
                fissure = np.minimum(fissure, np.maximum(np.abs(over), -above))
            canvas.fill(box, np.maximum(inside + 2, fissure + np.float32(_PLEURA_MM)), "muscle", KEEP)
        canvas.paint(_vessels(rng, side), "lung_vessel", KEEP, over=("lung",))


def paint_airways(canvas: Canvas, body: Body) -> None:
    """Trachea with the main bronchi, and the oesophagus behind it."""
    place = body.placed("trachea", (2, 2, 3), 0.08)
    grow = place.scale
    gullet: Path = [
        [-3, -9, 594, 7], [-5, -25, 545, 7.5], [-5, -37, 495, 8], [0, -41, 450, 8],
        [-2, -38, 412, 8], [-11, -30, 374, 8.5],
        [-22, -20, 350, 9], [-36, -14, 340, 9],
    ]  # fmt: skip
    rows = [[p[0], p[1], p[2] + (body.lift if p[2] < 400 else 0), p[3] * grow] for p in gullet]
    canvas.paint(tube(rows, flatten=(1.25, 1, 1)), "gut_wall", "esophagus", halo=1.2)
    if place.rng.random() < 0.5:
        canvas.paint(tube([[*p[:3], 2.5] for p in rows[1:4]]), "air", KEEP)
    _paint_windpipe(canvas, grow)


def _paint_windpipe(canvas: Canvas, grow: float) -> None:
    windpipe: Path = [[0, 10, 606, 8.5], [0, -5, 545, 9], [1, -20, 495, 9], [2, -25, 456, 9.5]]
    bronchi: list[Path] = [
        [[2, -25, 458, 8.5], [16, -27, 444, 7.5], [40, -30, 430, 6.5]],
        [[2, -25, 458, 8], [-18, -28, 440, 6.5], [-44, -34, 428, 6]],
    ]
    shapes = [tube([[*p[:3], p[3] * grow] for p in path]) for path in (windpipe, *bronchi)]
    walls = [tube([[*p[:3], p[3] * grow + 2] for p in path]) for path in (windpipe, *bronchi)]
    canvas.paint(union(*walls), "bronchus_wall", None, halo=1)
    canvas.paint(union(*shapes), "air", "trachea")
    lobar: list[Path] = [
        [[40, -30, 430, 4], [60, -28, 405, 3], [70, -45, 375, 2]],
        [[-44, -34, 428, 4], [-62, -40, 400, 3], [-72, -52, 370, 2]],
    ]
    for path in lobar:
        canvas.paint(tube([[*p[:3], p[3] + 1.2] for p in path]), "bronchus_wall", KEEP)
        canvas.paint(tube(path), "air", KEEP)


def paint_heart(canvas: Canvas, body: Body) -> None:
    """Heart muscle with its four chambers, and the appendage of the left atrium."""
    place = body.placed("heart", (5, 3, 3), 0.06)
    place.shift[2] -= 0.55 * body.lift
    grow = place.scale
    muscle = ellipsoid(place.at(-24, 16, 390), place.radii(68, 47, 48), _AXIS, place.lumps(2, 80))
    right = ellipsoid(place.at(27, 14, 392), place.radii(26, 27, 34))
    left = ellipsoid(place.at(-6, -8, 412), place.radii(36, 18, 21))
    whole = union(muscle, right, left, smooth=10)
    canvas.paint(whole, "myocardium", "heart", halo=4)
    thick = 3.0
    ventricle = ellipsoid(place.at(-38, 10, 384), place.radii(42, 23, 24), _AXIS)
    outflow = ellipsoid(place.at(-8, 42, 392), place.radii(44, 15, 30), rotation(z=-24, y=-25))
    canvas.paint(within(outflow, lambda b: whole.distance(b) + thick), "right_heart", KEEP)
    canvas.paint(within(right, lambda b: whole.distance(b) + thick), "right_heart", KEEP)
    canvas.paint(ventricle, "left_heart", KEEP)
    canvas.paint(within(left, lambda b: whole.distance(b) + thick), "left_heart", KEEP)
    auricle = ellipsoid(place.at(-50, 6, 424), (17 * grow, 12 * grow, 11 * grow), rotation(z=-35, y=15))
    canvas.paint(auricle, "left_heart", "atrial_appendage_left", halo=1.5, shared="heart")


def _lung(body: Body, side: int) -> Shape:
    dome = diaphragm(body, side)

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        x, y, z = block.body
        middle = 9 + 19 * np.exp(-(((y + 25) / 40) ** 2)) + 9 / (1 + np.exp(-(z - 480) / 9)) * (np.abs(y + 15) < 60)
        medial = middle.astype(np.float32) - np.float32(side) * x
        return np.maximum(np.maximum(cavity(block) + np.float32(2.5), -dome(block)), medial)

    low, high = np.array([2.0, -118, 255]), np.array([140.0, 88, 555])
    if side < 0:
        low[0], high[0] = -140, -2
    return Shape(low, high, distance)


def _diaphragm_muscle(body: Body) -> Shape:
    below = below_diaphragm(body)
    sides = [diaphragm(body, side) for _, side in SIDES]

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        above = np.minimum(sides[0](block), sides[1](block))
        return np.maximum(np.maximum(above - np.float32(0.5), -below(block)), cavity(block))

    return Shape(np.array([-140.0, -115, 250]), np.array([140.0, 95, 420]), distance)


def _plane(z_behind: float, slope: float, lumps: SurfaceRelief) -> Distance:
    """Distance above a plane through height `z_behind` at the back (y = -100)."""
    norm = np.hypot(1, slope)

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        _, y, z = block.body
        result: Float32[np.ndarray, "x y z"] = (z - np.float32(z_behind) - np.float32(slope) * (y + 100)) / np.float32(
            norm
        ) + lumps(block)
        return result

    return distance


def _vessels(rng: np.random.Generator, side: int) -> Shape:
    """Branches from the hilum to everywhere in the lung, thinner outwards."""
    pieces: list[Float[np.ndarray, "n c"]] = []
    hilum = np.array([side * 36.0, -18, 425])
    for _ in range(70):
        end = np.array([side * rng.uniform(35, 118), rng.uniform(-95, 65), rng.uniform(300, 520)])
        middle = hilum + (end - hilum) * rng.uniform(0.35, 0.6) + rng.normal(0, 8, 3)
        size = rng.uniform(1.6, 3.2)
        pieces.append(spline(np.array([[*hilum, size], [*middle, 0.6 * size], [*end, 0.3]]), 14))
    starts = np.concatenate([p[:-1] for p in pieces])
    ends = np.concatenate([p[1:] for p in pieces])
    radii = np.stack([starts[:, 3], ends[:, 3]], 1)
    return Tubes(starts[:, :3], ends[:, :3], radii, np.zeros_like(radii), reach=4).shape
