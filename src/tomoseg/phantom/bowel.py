"""The hollow organs of the belly: stomach, duodenum, small bowel, colon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from tomoseg.phantom.belly import inside_belly
from tomoseg.phantom.body import Body
from tomoseg.phantom.canvas import KEEP, Canvas
from tomoseg.phantom.tubes import Path, Tubes, tube_field


@dataclass(frozen=True)
class Hollow:
    """A hollow organ.

    Attributes:
        tubes: Its outer surface.
        label: Its structure.
        wall_mm: Thickness of the wall.
        content: Tissue of what it holds.
        gas_level: Height over the axis in mm above which it holds gas, by position along the axis (0 to 1).
        haustra: Number and depth in mm of the bulges along it.
    """

    tubes: Tubes
    label: str
    wall_mm: float
    content: str
    gas_level: Callable[[Float32[np.ndarray, "x y z"]], Float32[np.ndarray, "x y z"]]
    haustra: tuple[int, float] = (0, 0.0)


def paint_hollow(canvas: Canvas, body: Body, organ: Hollow) -> None:
    """Wall, content and gas of one organ, kept inside the belly."""
    limit = inside_belly(body, 2.0)
    for box, block in canvas.blocks(organ.tubes.shape, 3):
        found = organ.tubes.field(block)
        number, depth = organ.haustra
        bulges = np.float32(depth) * np.cos(found.along * np.float32(2 * np.pi * number))
        distance = np.maximum(found.distance + bulges, limit(block))
        canvas.fill(box, distance - np.float32(1.5), "fat", None)
        canvas.fill(box, distance, "gut_wall", organ.label)
        lumen = distance + np.float32(organ.wall_mm)
        canvas.fill(box, lumen, organ.content, KEEP)
        canvas.fill(box, np.maximum(lumen, organ.gas_level(found.along) - found.height), "air", KEEP)


def paint_stomach(canvas: Canvas, body: Body) -> None:
    """Stomach, with gas in front, and duodenum around the head of the pancreas."""
    place = body.placed("stomach", (4, 4, 6), 0.08)
    path: Path = [
        [-58, -34, 350, 27], [-68, -14, 338, 34], [-74, 14, 310, 33], [-66, 40, 284, 28], [-42, 54, 262, 23],
        [-10, 56, 255, 19],
        [18, 46, 262, 16], [32, 36, 268, 12],
    ]  # fmt: skip
    level = float(place.rng.uniform(2, 16))
    gas = _waves(level, 4, 1, place.rng)
    paint_hollow(
        canvas, body, Hollow(tube_field(place.path(path), lumps=place.lumps(2, 60)), "stomach", 4.5, "gut_fluid", gas)
    )


def paint_duodenum(canvas: Canvas, body: Body) -> None:
    """Duodenum: down on the right of the head of the pancreas, then across before the spine."""
    place = body.placed("pancreas")
    path: Path = [
        [34, 36, 266, 12], [48, 28, 268, 13], [58, 14, 252, 13], [60, 8, 222, 13], [54, 8, 196, 13],
        [32, 15, 186, 12.5], [4, 19, 188, 12],
        [-22, 19, 200, 12], [-32, 22, 216, 11.5],
    ]  # fmt: skip
    lumen = _waves(30, 26, 2, place.rng)
    tubes = tube_field(place.path(path), lumps=place.lumps(1.2, 30))
    paint_hollow(canvas, body, Hollow(tubes, "duodenum", 3.5, "gut_fluid", lumen))


def paint_colon(canvas: Canvas, body: Body) -> None:
    """Colon as a frame around the belly, from the caecum to the rectum."""
    place = body.placed("colon", (3, 2, 4), 0.06)
    rng = place.rng
    sag, loop = rng.normal(0, 12), rng.normal(0, 9, 2)
    path: Path = [
        [86, 18, 92, 24], [92, 8, 118, 27], [98, -6, 155, 24], [100, -14, 195, 22], [98, -6, 232, 22],
        [84, 22, 252, 21],
        [56, 50, 232 + sag / 2, 20], [18, 62, 212 + sag, 20], [-20, 64, 212 + sag, 20], [-60, 52, 238 + sag / 2, 20],
        [-92, 22, 280, 20], [-106, -14, 300, 20], [-108, -32, 272, 18], [-106, -32, 225, 17], [-104, -24, 175, 16.5],
        [-98, -4, 130, 16.5], [-86, 14, 100, 16], [-62, 26 + loop[0], 84, 16], [-34, 30 + loop[0], 92 + loop[1], 16],
        [-8, 14, 100 + loop[1], 16], [4, -14, 88, 16],
    ]  # fmt: skip
    rectum: Path = [
        [6, -36, 66, 17],
        [3, -54, 46, 19],
        [0, -54, 22, 21],
        [0, -46, -4, 19],
        [0, -40, -28, 14],
        [0, -44, -44, 9],
    ]
    rows = place.path(path)
    shift = np.array([place.shift[0] * 0.3, 0, 0])
    rows += [[p[0] + shift[0], p[1], p[2], p[3] * place.scale] for p in rectum]
    tubes = tube_field(rows, step=5, lumps=place.lumps(1.5, 40))
    gas = _waves(float(rng.uniform(2, 10)), 16, int(rng.integers(4, 8)), rng)
    paint_hollow(canvas, body, Hollow(tubes, "colon", 3.0, "stool", gas, (44, 2.2)))


def paint_small_bowel(canvas: Canvas, body: Body) -> None:
    """Loops that fill the middle of the belly; paint it first, the other organs push it aside."""
    place = body.placed("small_bowel", (4, 2, 5), 0.05)
    rng = place.rng
    points: list[list[float]] = []
    levels = [(62, 26, 48), (90, 28, 62), (118, 30, 70), (146, 32, 74), (174, 34, 74), (202, 36, 66)]
    for row, (z, front, wide) in enumerate(levels):
        for layer, y in enumerate((front + 20, front - 9)) if row % 2 else list(enumerate((front - 9, front + 20))):
            across = np.linspace(-wide, wide, 6) * (1 if (row * 2 + layer) % 2 else -1)
            for n, x in enumerate(across):
                wiggle = 7 * (-1) ** n
                points.append(
                    [x + rng.normal(0, 3), y + rng.normal(0, 3), z + wiggle + rng.normal(0, 3), rng.uniform(12.5, 15)]
                )
    tubes = tube_field(place.path(points), step=6, lumps=place.lumps(1.5, 35))
    gas = _waves(14, 9, 9, rng)
    paint_hollow(canvas, body, Hollow(tubes, "small_bowel", 3.0, "gut_fluid", gas))


def _waves(
    level: float, amplitude: float, number: int, rng: np.random.Generator
) -> Callable[[Float32[np.ndarray, "x y z"]], Float32[np.ndarray, "x y z"]]:
    """A level that goes up and down along the organ, so that only some parts hold gas."""
    phase = float(rng.uniform(0, 2 * np.pi))
    return lambda along: (
        np.float32(level) + np.float32(amplitude) * np.sin(np.float32(2 * np.pi * number) * along + np.float32(phase))
    )
