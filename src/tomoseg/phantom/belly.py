"""The solid organs of the belly, bladder and prostate."""

from __future__ import annotations

import numpy as np

from tomoseg.phantom.body import SIDES, Body
from tomoseg.phantom.canvas import KEEP, Canvas
from tomoseg.phantom.chest import below_diaphragm
from tomoseg.phantom.shapes import Distance, Shape, ellipsoid, rotation, union, within, without
from tomoseg.phantom.trunk import cavity
from tomoseg.phantom.tubes import Path, tube

CYST_SHARE = 0.5
"""Fraction of kidneys with a cyst."""


def inside_belly(body: Body, margin: float = 2.5) -> Distance:
    """Distance to the cavity below the diaphragm, `margin` mm inside its wall."""
    below = below_diaphragm(body)
    return lambda block: np.maximum(cavity(block) + np.float32(margin), below(block))


def paint_liver(canvas: Canvas, body: Body) -> None:
    """Liver and gallbladder."""
    place = body.placed("liver", (3, 3, 5), 0.05)
    parts = [
        ellipsoid(place.at(66, -8, 312), place.radii(72, 86, 83), rotation(y=10)),
        ellipsoid(place.at(-8, 40, 334), place.radii(68, 35, 40), rotation(y=-12)),
    ]
    liver = within(union(*parts, smooth=22), inside_belly(body))
    lumps = place.lumps(3.0, 80)
    uneven = Shape(
        liver.low, liver.high, lambda block: np.maximum(liver.distance(block) + lumps(block), inside_belly(body)(block))
    )
    canvas.paint(uneven, "liver", "liver", halo=1.5)
    portal: list[Path] = [
        [[40, 6, 305, 5], [70, 0, 325, 3.5], [92, -10, 345, 2]],
        [[45, 6, 312, 4.5], [12, 35, 335, 3]],
    ]
    hepatic: list[Path] = [[[28, -8, 352, 5], [55, 0, 358, 3], [85, 5, 356, 2]], [[28, -5, 352, 5], [10, 25, 352, 3]]]
    for path in portal:
        canvas.paint(tube(place.path(path)), "portal_vein", KEEP, over=("liver",))
    for path in hepatic:
        canvas.paint(tube(path), "lower_vein", KEEP, over=("liver",))
    bag = ellipsoid(place.at(52, 50, 268), place.radii(17, 18, 33), rotation(x=28, y=12))
    pouch = within(bag, inside_belly(body))
    canvas.paint(pouch, "gut_wall", "gallbladder", halo=1)
    canvas.paint(Shape(pouch.low, pouch.high, lambda block: pouch.distance(block) + 2), "bile", KEEP)


def paint_spleen(canvas: Canvas, body: Body) -> None:
    """Spleen, hollowed towards the stomach."""
    place = body.placed("spleen", (3, 5, 6), 0.09)
    solid = ellipsoid(place.at(-100, -46, 312), place.radii(38, 54, 58), rotation(z=18, x=-15), place.lumps(2, 60))
    hollow = ellipsoid(place.at(-60, -18, 312), place.radii(28, 40, 48))
    canvas.paint(within(without(solid, hollow.distance), inside_belly(body)), "spleen", "spleen", halo=1.5)


def paint_pancreas(canvas: Canvas, body: Body) -> None:
    """Pancreas from the head beside the duodenum to the tail at the spleen."""
    place = body.placed("pancreas")
    path: Path = [
        [36, 16, 218, 14],
        [32, 20, 240, 16],
        [14, 25, 256, 12.5],
        [-20, 22, 268, 12],
        [-52, 2, 282, 12.5],
        [-80, -20, 292, 10.5],
    ]
    canvas.paint(
        tube(place.path(path), flatten=(1, 0.9, 1.15), lumps=place.lumps(1.8, 22)), "pancreas", "pancreas", halo=1.8
    )


def paint_kidneys(canvas: Canvas, body: Body) -> None:
    """Kidneys in their fat, with cysts in some, and the adrenal glands above."""
    for name, side in SIDES:
        place = body.placed(f"kidney_{name}", (4, 3, 8), 0.08)
        height = 236 if side > 0 else 250
        turn = rotation(x=-8, y=-10 * side, z=-18 * side)
        centre = place.at(side * 66, -40, height)
        bean = ellipsoid(centre, place.radii(30, 27, 56), turn, place.lumps(1.5, 40))
        sinus = ellipsoid(
            (centre[0] - side * 21 * place.scale, centre[1] + 6, centre[2]), place.radii(17, 11, 24), turn
        )
        canvas.paint(without(bean, sinus.distance), "kidney", f"kidney_{name}", halo=5)
        pelvis = ellipsoid((centre[0] - side * 20, centre[1] + 5, centre[2]), place.radii(12, 5, 12), turn)
        canvas.paint(pelvis, "urine", None)
        if place.rng.random() < CYST_SHARE:
            angle, radius = place.rng.uniform(-60, 100), place.rng.uniform(13, 22)
            away = np.array(
                [side * np.cos(np.deg2rad(angle)) * 26, np.sin(np.deg2rad(angle)) * 22, place.rng.uniform(-34, 34)]
            )
            ball = ellipsoid(tuple(np.array(centre) + away * place.scale), (radius, radius, radius))
            canvas.paint(ball, "cyst", f"kidney_cyst_{name}", halo=1, shared=f"kidney_{name}")
        _paint_adrenal(canvas, body, name, side)


def _paint_adrenal(canvas: Canvas, body: Body, name: str, side: int) -> None:
    place = body.placed(f"adrenal_{name}", (2, 2, 4), 0.08)
    x, y, z = place.at(*((36, -32, 298) if side > 0 else (-34, -22, 296)))
    limbs = [ellipsoid((x + turn * 9, y - 7, z), place.radii(4.6, 17, 17), rotation(z=turn * 30)) for turn in (1, -1)]
    stem = ellipsoid((x, y + 8, z), place.radii(5.5, 9, 15))
    canvas.paint(union(*limbs, stem, smooth=4), "adrenal", f"adrenal_gland_{name}", halo=3)


def paint_pelvic_organs(canvas: Canvas, body: Body) -> None:
    """Bladder; prostate or uterus."""
    place = body.placed("bladder", (4, 3, 3), 0.03)
    place.shift[2] -= body.lift
    fill = place.rng.uniform(0.85, 1.25)
    if body.female:
        canvas.paint(
            ellipsoid((float(place.shift[0]), -18, 34), (30, 22, 27), rotation(x=25)), "prostate", None, halo=2
        )
    bag = ellipsoid(place.at(0, 22, 22 + 12 * fill), (43 * fill, 34 * fill, 34 * fill), None, place.lumps(1.5, 70))
    pouch = within(bag, lambda block: cavity(block) + 3)
    canvas.paint(pouch, "gut_wall", "urinary_bladder", halo=2)
    canvas.paint(Shape(pouch.low, pouch.high, lambda block: pouch.distance(block) + 3.5), "urine", KEEP)
    if not body.female:
        gland = body.placed("prostate", (2, 2, 2), 0.1)
        gland.shift[2] -= body.lift
        canvas.paint(ellipsoid(gland.at(0, 12, -22), gland.radii(27, 20, 21)), "prostate", "prostate", halo=2)
        for _, side in SIDES:
            canvas.paint(ellipsoid((side * 18, -16, 8), (18, 7, 8), rotation(z=12 * side)), "prostate", None, halo=1.5)
