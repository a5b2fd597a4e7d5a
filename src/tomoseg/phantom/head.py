"""Brain, skull, face, and the organs of the neck."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from tomoseg.phantom.body import SIDES, Body
from tomoseg.phantom.canvas import KEEP, Canvas
from tomoseg.phantom.shapes import Block, Shape, ellipsoid, rotation, union, without
from tomoseg.phantom.tubes import Path, mirrored, tube


def paint_head(canvas: Canvas, body: Body) -> None:
    """Skull around the brain, airways, eyes, jaw."""
    place = body.placed("brain", (0, 0, 0), 0.02)
    brain = _brain(place.scale)
    outer = _grown(brain, 9.5)
    for shape in _face():
        canvas.paint(shape, "bone", "skull", halo=1)
    canvas.paint(outer, "bone", "skull", halo=2)
    canvas.paint(_grown(brain, 3.0), "csf", None)
    canvas.paint(brain, "brain", "brain")
    for _, side in SIDES:
        ventricle: Path = [
            [side * 8, 32, 768, 6],
            [side * 11, 5, 776, 6],
            [side * 18, -25, 766, 7],
            [side * 24, -5, 748, 4],
        ]
        canvas.paint(tube(ventricle), "csf", KEEP)
        canvas.paint(ellipsoid((side * 31, 74, 709), (17, 17, 16)), "fat", None)
        canvas.paint(ellipsoid((side * 31, 77, 709), (12, 12, 12)), "eye", None)
        canvas.paint(ellipsoid((side * 29, 62, 680), (13, 17, 16)), "air", KEEP)
        canvas.paint(ellipsoid((side * 56, -18, 698), (7, 12, 10)), "air", KEEP)
    canvas.paint(ellipsoid((0, 64, 690), (10, 34, 19)), "air", None)
    canvas.paint(
        tube([[0, 30, 690, 9], [0, 18, 665, 8.5], [0, 16, 635, 9], [0, 11, 603, 8]], flatten=(1.35, 1, 1)),
        "air",
        None,
        over=("muscle", "fat", "skin"),
    )


def paint_neck(canvas: Canvas, body: Body) -> None:
    """Planes of fat between the muscles of the neck, thyroid cartilage, thyroid gland."""
    for _, side in SIDES:
        canvas.paint(
            tube(mirrored([[34, -16, 560, 12], [33, -12, 600, 12], [34, -10, 650, 9]], side)),
            "fat",
            None,
            over=("muscle",),
        )
        canvas.paint(
            tube(mirrored([[50, -46, 560, 9], [46, -40, 600, 8], [44, -34, 640, 6]], side)),
            "fat",
            None,
            over=("muscle",),
        )
        strap: Path = [[16, 22, 530, 6], [34, 16, 570, 9], [46, -4, 610, 10], [54, -24, 660, 10], [56, -28, 682, 9]]
        canvas.paint(tube(mirrored(strap, side)), "muscle", None, halo=1.8)
    canvas.paint(
        tube(
            [[-13, 6, 618, 3.5], [-8, 20, 618, 3.5], [0, 25, 618, 3.5], [8, 20, 618, 3.5], [13, 6, 618, 3.5]],
            flatten=(1, 1, 3),
        ),
        "cartilage",
        None,
    )
    place = body.placed("thyroid", (1.5, 1.5, 4), 0.1)
    place.shift[2] -= body.lift
    place.shift[0] -= body.stance[0]
    lobes = [
        ellipsoid(place.at(side * 18, 3, 577), place.radii(10.5, 13, 25), rotation(y=-8 * side)) for _, side in SIDES
    ]
    bridge = tube(place.path([[-15, 11, 570, 5], [0, 17, 569, 5.5], [15, 11, 570, 5]]))
    canvas.paint(union(*lobes, bridge, smooth=5), "thyroid", "thyroid_gland", halo=1.2)


def _brain(scale: float) -> Shape:
    parts = [
        ellipsoid((0, 6, 765), (64 * scale, 81 * scale, 60 * scale)),
        ellipsoid((0, -36, 719), (48, 36, 27)),
        tube([[0, -10, 735, 17], [0, -16, 705, 13], [0, -21, 682, 9]]),
    ]
    whole = union(*parts, smooth=10)

    def base(block: Block) -> Float32[np.ndarray, "x y z"]:
        _, y, z = block.body
        return np.where(y > -8, 722 + 0.24 * (y - 10) - z, np.float32(-50)).astype(np.float32)

    hemispheres = without(whole, lambda block: np.maximum(np.abs(block.body[0]) - 0.6, 735 - block.body[2]))
    return Shape(whole.low, whole.high, lambda block: np.maximum(hemispheres.distance(block), base(block)))


def _grown(shape: Shape, by: float) -> Shape:
    return Shape(shape.low - by, shape.high + by, lambda block: shape.distance(block) - np.float32(by))


def _face() -> list[Shape]:
    jaw: Path = [
        [50, 4, 700, 6],
        [50, 8, 672, 7],
        [47, 22, 650, 7.5],
        [34, 58, 640, 8],
        [14, 82, 639, 8.5],
        [0, 86, 639, 8.5],
    ]
    teeth: Path = [[30, 50, 661, 6], [25, 66, 662, 7], [12, 82, 662, 7], [0, 85, 662, 7]]
    cheek: Path = [[58, 10, 702, 5], [59, 35, 698, 5], [50, 62, 692, 7], [36, 78, 690, 6]]
    brow: Path = [[57, 48, 722, 6], [40, 76, 726, 6], [15, 86, 724, 6], [0, 87, 722, 6]]
    halves = [[*mirrored(path, 1), *mirrored(path, -1)[::-1][1:]] for path in (jaw, teeth, brow)]
    shapes = [tube(path, flatten=(1, 1, 1.25)) for path in halves]
    for _, side in SIDES:
        shapes.append(tube(mirrored(cheek, side)))
        shapes.append(ellipsoid((side * 30, 62, 680), (17, 21, 20)))
        shapes.append(ellipsoid((side * 55, -18, 700), (12, 18, 16)))
    shapes.append(ellipsoid((0, 36, 700), (30, 26, 10)))
    return [union(*shapes, smooth=3)]
