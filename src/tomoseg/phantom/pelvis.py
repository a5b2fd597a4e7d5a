"""Hip bones, femora, the gluteal muscles and the iliopsoas."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from tomoseg.phantom.body import SIDES, Body, spine_y
from tomoseg.phantom.canvas import Canvas
from tomoseg.phantom.shapes import Block, Shape, ellipsoid, union
from tomoseg.phantom.tubes import Path, mirrored, sheet, tube

# the wing of the ilium from behind to the front, from the crest down to the roof of the socket
_WING: list[Path] = [
    [[48, -84, 118, 8], [84, -62, 150, 6], [112, -18, 156, 6], [125, 22, 136, 6.5], [122, 46, 104, 7]],
    [[46, -82, 92, 9], [78, -58, 112, 5], [104, -18, 116, 4.5], [117, 18, 104, 4.5], [117, 42, 88, 6.5]],
    [[50, -74, 68, 10], [74, -50, 78, 6], [94, -18, 78, 5], [106, 12, 72, 5.5], [110, 34, 62, 7]],
    [[60, -56, 50, 10], [76, -36, 48, 10], [90, -14, 44, 9], [97, 8, 42, 9], [100, 24, 40, 8]],
]


def paint_gluteals(canvas: Canvas, body: Body) -> None:
    """The three gluteal muscles of each side, from the skin inwards, with planes of fat between them."""
    grow = body.placed("gluteals", scale=0.09).scale
    for name, side in SIDES:
        for muscle, grid in (("maximus", _MAXIMUS), ("medius", _MEDIUS), ("minimus", _MINIMUS)):
            rows = [[[*p[:3], p[3] * grow] for p in mirrored(row, side)] for row in grid]
            canvas.paint(sheet(rows, step=8), "muscle", f"gluteus_{muscle}_{name}", halo=2.5)


_MAXIMUS: list[Path] = [
    [[34, -96, 74, 11], [62, -98, 84, 12], [90, -80, 88, 10]],
    [[28, -102, 40, 16], [62, -104, 48, 19], [100, -82, 50, 15]],
    [[26, -104, 5, 17], [64, -104, 8, 23], [108, -80, 8, 17]],
    [[34, -98, -30, 14], [72, -98, -30, 22], [116, -70, -30, 15]],
    [[52, -88, -62, 9], [86, -84, -62, 15], [122, -58, -62, 12]],
]
_MEDIUS: list[Path] = [
    [[84, -66, 134, 8], [120, -26, 142, 9], [134, 14, 122, 9]],
    [[88, -64, 104, 11], [121, -26, 106, 13], [133, 14, 94, 12]],
    [[98, -52, 66, 11], [122, -22, 64, 13], [130, 12, 60, 12]],
    [[116, -36, 26, 9], [131, -14, 24, 11], [133, 8, 24, 9]],
    [[130, -24, 4, 6], [136, -12, 2, 7], [136, 0, 2, 6]],
]
_MINIMUS: list[Path] = [
    [[88, -46, 98, 5], [107, -18, 98, 6], [118, 10, 90, 6]],
    [[94, -38, 72, 7], [108, -12, 70, 8], [116, 12, 64, 8]],
    [[106, -24, 42, 7], [114, -2, 40, 9], [117, 16, 38, 8]],
    [[120, -8, 12, 6], [123, 4, 12, 7], [124, 14, 12, 6]],
]


def paint_iliopsoas(canvas: Canvas, body: Body) -> None:
    """Psoas from the lumbar spine and iliacus from the wing of the ilium, joined, to the lesser trochanter."""
    grow = body.placed("iliopsoas", scale=0.09).scale
    for name, side in SIDES:
        psoas: Path = [
            [25, float(spine_y(280)) - 2, 280, 8], [31, float(spine_y(245)) - 2, 245, 12],
                [38, float(spine_y(190)), 190, 16.5],
            [45, float(spine_y(150)) + 6, 150, 19], [54, -20, 112, 20], [68, -4, 72, 18], [80, 22, 38, 16.5],
            [86, 36, 8, 15.5], [84, 24, -28, 13], [78, -2, -62, 8],
        ]  # fmt: skip
        iliacus: list[Path] = [
            [[76, -44, 122, 6], [98, -12, 128, 7], [110, 18, 114, 7]],
            [[70, -34, 92, 9], [90, -8, 92, 11], [103, 20, 86, 9]],
            [[72, -12, 62, 9], [86, 4, 60, 12], [96, 26, 56, 10]],
            [[80, 18, 34, 9], [86, 26, 32, 11], [92, 32, 30, 10]],
        ]
        parts = [
            tube([[*p[:3], p[3] * grow] for p in mirrored(psoas, side)], step=10),
            sheet([[[*p[:3], p[3] * grow] for p in mirrored(row, side)] for row in iliacus], step=8),
        ]
        canvas.paint(union(*parts, smooth=6), "muscle", f"iliopsoas_{name}", halo=2.2)


def paint_hips(canvas: Canvas, body: Body) -> None:
    """Hip bones and femora."""
    turn = body.placed("femora").rng.normal(0, 5)
    for name, side in SIDES:
        canvas.paint(_femur(side, turn), "bone", f"femur_{name}", halo=2.0)
        canvas.paint(ellipsoid((side * 80, -34, -18), (15, 13, 17)), "fat", None, over=("muscle",))
        canvas.paint(_hip(side), "bone", f"hip_{name}", halo=1.0)
        canvas.paint(_head(side, 26.5), "cartilage", None, over=("bone",))
        canvas.paint(_femur(side, turn), "bone", f"femur_{name}")


def _head(side: int, radius: float) -> Shape:
    return ellipsoid((side * 90, -2, 0), (radius, radius, radius))


def _femur(side: int, turn: float) -> Shape:
    front = turn * 0.4
    neck: Path = [[90, -2, 0, 14], [104, -7 + front, -6, 14.5], [122, -13 + front, -20, 17]]
    trochanter: Path = [[128, -20 + front, 2, 12], [132, -16 + front, -18, 15], [126, -10 + front, -45, 16]]
    shaft: Path = [[127, -12 + front, -30, 17], [122, -8 + front, -62, 15.5], [118, -4, -110, 14], [112, 2, -300, 13.5]]
    lesser: Path = [[118, -14 + front, -52, 11], [106, -16 + front, -58, 8]]
    tubes = [tube(mirrored(path, side), step=10) for path in (neck, trochanter, shaft, lesser)]
    return union(_head(side, 23.5), *tubes, smooth=6)


def _hip(side: int) -> Shape:
    wing = sheet([mirrored(row, side) for row in _WING])
    cup = ellipsoid((side * 87, -2, 4), (34, 34, 36))
    pubis: Path = [[72, 22, 10, 11], [48, 40, 2, 8], [24, 50, -8, 8.5], [10, 48, -18, 9.5]]
    ischium: Path = [[78, -26, -8, 16], [72, -38, -34, 13.5], [62, -38, -58, 13], [52, -26, -66, 10]]
    ramus: Path = [[52, -26, -66, 9], [34, 6, -52, 7.5], [14, 36, -32, 8]]
    parts = [tube(mirrored(path, side)) for path in (pubis, ischium, ramus)]
    solid = union(wing, cup, *parts, smooth=8)
    socket = _head(side, 26.0)
    mouth = ellipsoid((side * 126, -2, -14), (34, 40, 40))

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        return np.maximum(np.maximum(solid.distance(block), -socket.distance(block)), -mouth.distance(block))

    return Shape(solid.low, solid.high, distance)
