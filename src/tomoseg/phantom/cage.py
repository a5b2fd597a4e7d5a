"""The bones of chest and shoulders: ribs, cartilages, sternum, clavicles, scapulae, humeri."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomoseg.phantom.body import CAVITY, SIDES, VERTEBRAE, Body, spine_y
from tomoseg.phantom.canvas import Canvas
from tomoseg.phantom.shapes import Shape, ellipsoid, union
from tomoseg.phantom.spine import vertebra_size
from tomoseg.phantom.trunk import HUMERUS_DOWN, HUMERUS_UP
from tomoseg.phantom.tubes import Path, mirrored, sheet, spline, tube

# By rib 1 to 12: how far it descends in mm, and the angle where its bone ends (-90 behind, 0 at the side, 90 in front).
_DROP = (34, 52, 68, 82, 92, 98, 100, 98, 94, 86, 64, 34)
_END = (50, 56, 60, 61, 60, 56, 49, 39, 27, 12, -16, -42)
_STERNAL_Z = (503, 471, 449, 428, 409, 392, 377)
_OUT_MM = 5.5
_STERNUM = ((514, 22), (500, 25), (478, 18), (460, 13), (430, 15), (395, 17), (372, 14), (352, 7))


def paint_cage(canvas: Canvas, body: Body) -> None:
    """Cartilages, ribs and sternum."""
    droop = body.placed("ribs").rng.normal(0, 5)
    paths = {(side, rib): _rib_path(side, rib, droop) for _, side in SIDES for rib in range(1, 13)}
    for path in _cartilages(paths):
        canvas.paint(tube([[*p[:3], 6.2] for p in path]), "cartilage", "costal_cartilages", halo=1.5)
    for side_name, side in SIDES:
        for rib in range(1, 13):
            canvas.paint(tube(paths[side, rib], step=9), "bone", f"rib_{side_name}_{rib}", halo=1.5)
    canvas.paint(_sternum(), "bone", "sternum", halo=1.5)


def _cartilages(ribs: dict[tuple[int, int], list[list[float]]]) -> list[Path]:
    """Of ribs 1 to 7 to the sternum, of 8 to 10 to the one above; ribs by side and number."""
    own = {key: _cartilage_path(path, *key) for key, path in ribs.items() if key[1] <= 7}
    joined = [_joined_cartilage(ribs[side, rib], own[side, 7], rib) for _, side in SIDES for rib in range(8, 11)]
    return [*own.values(), *joined]


def _joined_cartilage(rib_path: Path, above: Path, rib: int) -> Path:
    """From the end of rib 8, 9 or 10 to the cartilage of rib 7."""
    target, end = np.array(above[1 if rib == 8 else 0]), np.array(rib_path[-1])
    middle = (0.55 * end + 0.45 * target) + (0, 3, -7, 0)
    return [list(end), list(middle), list(target)]


def paint_shoulders(canvas: Canvas, body: Body) -> None:
    """Scapulae, clavicles and humeri, with fat in the armpits."""
    for side_name, side in SIDES:
        canvas.paint(ellipsoid((side * 132, -20, 462), (17, 26, 34)), "fat", None, over=("muscle",))
        canvas.paint(_scapula(side, body.arms_up), "bone", f"scapula_{side_name}", halo=1.5)
        canvas.paint(_clavicle(side, body.arms_up), "bone", f"clavicula_{side_name}", halo=1.5)
        canvas.paint(_humerus(side, body.arms_up), "bone", f"humerus_{side_name}", halo=1.5)
        forearm: Path = [[163, 30, 840, 8], [150, 42, 960, 8]] if body.arms_up else [[214, 0, 190, 8], [208, 28, 20, 8]]
        for shift in (-9, 9):
            path = [[side * (p[0] + shift), *p[1:]] for p in forearm]
            canvas.paint(tube(path, step=40), "bone", None)


def _rib_path(side: int, rib: int, droop: float) -> list[list[float]]:
    z = VERTEBRAE[f"T{rib}"]
    width, depth, pedicle = vertebra_size(z)
    y = float(spine_y(z))
    start = -66 if rib > 2 else -58
    end = _END[rib - 1]
    drop = _DROP[rib - 1] + (droop if 1 < rib < 12 else 0)
    radius = 6.2 if rib > 1 else 5.8
    rows = [[width * 0.95, y - depth * 0.75, z + 5], [pedicle + 13, y - depth - 15, z + 4]]
    for angle in np.linspace(start, end, 9):
        part = (angle - start) / (end - start)
        height = z - drop * (0.25 * part + 0.75 * part**1.15)
        rows.append(list(CAVITY.point(angle, height, _OUT_MM)))
    points = [[side * x, depth_y, height, radius] for x, depth_y, height in rows]
    points[0][3] = radius - 1
    return [list(p) for p in spline(np.array(points), 12.0)]


def _cartilage_path(rib_path: list[list[float]], side: int, rib: int) -> list[list[float]]:
    end = np.array(rib_path[-1][:3])
    z = _STERNAL_Z[rib - 1]
    half = float(np.interp(-z, [-s[0] for s in _STERNUM], [s[1] for s in _STERNUM]))
    target = np.array([side * (half + 1), CAVITY.at(z)[2] + 7, z])
    middle = 0.45 * end + 0.55 * target
    sag = max(0.0, (z - end[2])) * 0.22
    x, y, _ = CAVITY.point(np.rad2deg(np.arctan2(middle[1] + 20, abs(middle[0]))), float(middle[2] - sag), _OUT_MM)
    middle = np.array([side * abs(middle[0]), max(y, middle[1]) if abs(x) > 0 else middle[1], middle[2] - sag])
    return [[*end, 6.0], [*middle, 6.0], [*target, 6.0]]


def _sternum() -> Shape:
    grid = [
        [[half * share, CAVITY.at(z)[2] + 8 - 1.5 * abs(share), z, 6.3] for share in (-0.8, -0.4, 0, 0.4, 0.8)]
        for z, half in _STERNUM
    ]
    return sheet(grid, step=7)


def _scapula(side: int, arms_up: bool) -> Shape:
    swing = 14 if arms_up else 0
    blade: list[Path] = [
        [[64, -105, 515, 3.5], [88, -98, 521, 4], [112, -80, 524, 4.5], [134, -55, 520, 7]],
        [[68, -114, 480, 3.5], [90, -110, 480, 3.5], [114, -92, 486, 5], [139, -58, 504, 9]],
        [
            [74 + swing / 2, -119, 440, 3.5],
            [90 + swing / 2, -118, 442, 4],
            [110 + swing / 2, -105, 450, 5],
            [130, -80, 476, 6],
        ],
        [
            [86 + swing, -119, 402, 4.5],
            [93 + swing, -117, 404, 4.5],
            [102 + swing, -110, 410, 5],
            [112 + swing, -102, 424, 5.5],
        ],
    ]
    ridge: Path = [
        [70, -112, 490, 5],
        [105, -106, 503, 6],
        [134, -84, 520, 6.5],
        [154, -56, 537, 7.5],
        [158, -36, 543, 7],
    ]
    beak: Path = [[134, -42, 515, 6], [132, -18, 524, 6], [140, -4, 514, 5.5]]
    parts = [sheet([mirrored(row, side) for row in blade]), tube(mirrored(ridge, side)), tube(mirrored(beak, side))]
    return union(*parts, smooth=4)


def _clavicle(side: int, arms_up: bool) -> Shape:
    up = 14 if arms_up else 0
    path: Path = [
        [16, 30, 514, 8.5],
        [45, 36, 523 + up / 4, 7],
        [85, 18, 534 + up / 3, 6.5],
        [118, -8, 541 + up / 2, 6.5],
        [146, -30, 546 + up / 2, 7],
    ]
    return tube(mirrored(path, side))


def _humerus(side: int, arms_up: bool) -> Shape:
    head: Sequence[float] = [166, -32, 516, 23]
    neck: Sequence[float] = [173, -24, 556, 14] if arms_up else [182, -27, 484, 14]
    shaft = HUMERUS_UP if arms_up else HUMERUS_DOWN
    return tube(mirrored([head, [*head[:2], head[2] + (8 if arms_up else -8), 22], neck, *shaft], side), step=12)
