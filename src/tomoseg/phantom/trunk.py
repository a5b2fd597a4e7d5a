"""The body as a whole: skin, fat, muscle of trunk, arms and thighs, and the cavity of chest, belly and pelvis."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from tomoseg.phantom.body import CAVITY, FAT_SHARE, SIDES, WALL, Body
from tomoseg.phantom.canvas import Canvas
from tomoseg.phantom.shapes import Block, Shape, ellipsoid, nearer, union
from tomoseg.phantom.tubes import FAR_MM, Path, mirrored, tube

SKIN_MM = 2.5
_LIMB_REACH = 70.0
_ARM_UP: Path = [
    [140, -32, 505, 40], [164, -30, 518, 44], [176, -20, 570, 42], [181, -2, 650, 38],
    [178, 12, 760, 36], [166, 22, 840, 36],
    [150, 40, 960, 32],
]  # fmt: skip
_ARM_DOWN: Path = [
    [140, -32, 520, 38], [166, -28, 512, 44], [192, -26, 450, 40], [206, -24, 350, 38], [213, -18, 220, 38],
    [216, 5, 120, 34], [208, 30, 0, 30],
]  # fmt: skip
HUMERUS_UP: Path = [[178, -10, 610, 11.5], [180, 0, 680, 11], [177, 12, 760, 11.5], [169, 20, 815, 14]]
HUMERUS_DOWN: Path = [[194, -26, 440, 11.5], [205, -24, 350, 11], [211, -19, 260, 11.5], [213, -15, 212, 15]]


def paint_trunk(canvas: Canvas, body: Body) -> None:
    """Skin, fat under it, muscle, and fat where organs will be."""
    limbs, head, breasts = [*_thighs(), *_arms(body)], _head(), _breasts(body)
    low, high = np.array([-330.0, -190, -320]), np.array([330.0, 190, 1010])
    lumps = body.placed("skin").lumps(3.0, 170)
    limb_fat = np.float32(4 + 0.25 * body.fat_mm)
    for box, block in canvas.blocks(Shape(low, high, lumps), depth=24):
        z = block.body[2]
        trunk = np.maximum(WALL.distance(block), np.maximum(-(z + 75), z - 690))
        trunk = _joined(trunk, [head], block, smooth=12.0)
        limb = _joined(np.full(block.shape, FAR_MM, np.float32), limbs, block)
        skin = np.minimum(trunk - _fat(z, body), limb - limb_fat) + (lumps(block) - np.float32(SKIN_MM))
        skin = _joined(skin, breasts, block, smooth=30.0)
        canvas.fill(box, skin, "skin", None)
        canvas.fill(box, skin + np.float32(SKIN_MM), "fat", None)
        canvas.fill(box, np.minimum(trunk, limb), "muscle", None)
        canvas.fill(box, cavity(block), "fat", None)


def _joined(
    distance: Float32[np.ndarray, "x y z"], shapes: list[Shape], block: Block, smooth: float = 0.0
) -> Float32[np.ndarray, "x y z"]:
    """Join a distance with those of the shapes near the block."""
    z = block.body[2]
    bottom, top = float(z.min()), float(z.max())
    for shape in shapes:
        if bottom < shape.high[2] + _LIMB_REACH and top > shape.low[2] - _LIMB_REACH:
            distance = nearer(distance, shape.distance(block), smooth)
    return distance


def cavity(block: Block) -> Float32[np.ndarray, "x y z"]:
    """Distance to the cavity of chest, belly and pelvis, negative inside."""
    z = block.body[2]
    return np.maximum(CAVITY.distance(block), np.maximum(-(z + 48), z - 552))


def _fat(z: Float32[np.ndarray, "x y z"], body: Body) -> Float32[np.ndarray, "x y z"]:
    shares = (FAT_SHARE(np.clip(np.arange(-140, 950, 2.0), -120, 940)) * body.fat_mm).astype(np.float32)
    return np.take(shares, np.clip((z + 140) * 0.5, 0, len(shares) - 1).astype(np.int16))


def _thighs() -> list[Shape]:
    return [
        tube([[s * 90, -15, -10, 76], [s * 93, -14, -100, 78], [s * 95, -12, -300, 66]], step=40, reach=_LIMB_REACH)
        for _, s in SIDES
    ]


def _arms(body: Body) -> list[Shape]:
    path = _ARM_UP if body.arms_up else _ARM_DOWN
    girdle: Path = [[30, -48, 545, 38], [85, -42, 535, 42], [164, -30, 516, 43]]
    return [tube(mirrored(rows, side), step=30, reach=_LIMB_REACH) for _, side in SIDES for rows in (path, girdle)]


def _head() -> Shape:
    return union(
        ellipsoid((0, 2, 757), (76, 95, 82)),
        ellipsoid((0, 48, 690), (58, 50, 66)),
        ellipsoid((0, 70, 655), (42, 32, 26)),
        ellipsoid((0, 98, 700), (15, 18, 22)),
        smooth=24,
    )


def _breasts(body: Body) -> list[Shape]:
    if not body.female:
        return []
    size = 42 + 0.6 * body.fat_mm
    return [ellipsoid((side * 72, 78, 415), (size * 1.15, size, size * 1.2)) for _, side in SIDES]
