"""Arms that a map lacks or cuts: beside the trunk, raised beside the head, or going on from where a humerus ends."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import FieldOfViewConfig
from tomoseg.bodies.lying import PatientPosition
from tomoseg.bodies.placement import Placement
from tomoseg.bodies.render import Appearance
from tomoseg.bodies.slots import FAT_MM, SKIN_MM, WALL_MM

Point = Float[np.ndarray, "3"]
_SHOULDERS = ("humerus", "scapula", "clavicula")
_HUMERUS_MM = 300.0
_FOREARM_MM = 330.0
_BONE_MM = (11.0, 7.5)
"""Radius of the bone of the upper arm, and of each of the forearm."""
_CUT_MM = 30.0
"""A humerus that lacks less is whole."""
_HEAD_MM = 50.0
"""A shorter part of a humerus is only its head, and does not give its direction."""
_SIDES = (("left", -1.0), ("right", 1.0))


def flesh_mm(look: Appearance) -> float:
    """Return the distance in mm from the structures to the skin's outer surface."""
    return float(look.body[WALL_MM] + 1.1 * look.body[FAT_MM] + look.body[SKIN_MM])


def with_arms(
    anatomy: Anatomy,
    placement: Placement,
    lying: PatientPosition,
    look: Appearance,
    config: FieldOfViewConfig,
    rng: np.random.Generator,
) -> Appearance:
    """Add arms to a share of bodies, where the map lacks them or cuts them off."""
    has_shoulders = any(anatomy.labels.names[n - 1].startswith(_SHOULDERS) for n in anatomy.boxes)
    if rng.random() >= config.arms_share or not anatomy.wall:
        return look
    radius = rng.uniform(*config.arm_mm) + 0.15 * float(look.body[FAT_MM])
    if has_shoulders:
        raised = rng.random() < config.raised_share
        rows = [row for side in _SIDES for row in _from_shoulder(anatomy, placement, side, radius, raised, rng)]
    elif lying.turn_deg == 0:
        rows = _beside_trunk(anatomy, placement, look, radius, rng)
    else:
        rows = []
    return look._replace(arms=np.array(rows, np.float32).reshape(-1, 9))


def _beside_trunk(
    anatomy: Anatomy, placement: Placement, look: Appearance, radius: float, rng: np.random.Generator
) -> list[list[float]]:
    """Place arms for a map that ends below the shoulders: along the flanks, clear of the widest part below."""
    bottom, top = placement.box[:, 2]
    elbow_z = bottom + rng.uniform(0.35, 0.8) * (top - bottom)
    rows = []
    for name, side in _SIDES:
        flank, *lower = (_skin(anatomy, placement, look, side, elbow_z - mm) for mm in (0, 110, 220, _FOREARM_MM))
        gap = radius + rng.uniform(1, 12)
        elbow = np.array([flank[0] + side * gap, flank[1] + rng.uniform(-35, 15), elbow_z])
        shoulder = np.array([elbow[0] - side * 10, elbow[1] - 10, max(top + 150, elbow_z + 200)])
        hand_x = side * max(side * at[0] for at in lower) + side * (gap + rng.uniform(0, 10))
        hand = np.array([hand_x, elbow[1] + rng.uniform(0, 60), elbow_z - _FOREARM_MM])
        rows += _arm(anatomy, name, shoulder, elbow, hand, radius)
    return rows


def _skin(anatomy: Anatomy, placement: Placement, look: Appearance, side: float, z: float) -> Point:
    """The outermost point of the skin at a side and a height of the scanner, in mm of that."""
    to_coarse = np.linalg.inv(anatomy.coarse_affine)
    middle = placement.middle + np.linalg.solve(placement.turn, [0, 0, z])
    k = int(np.clip(round(float(to_coarse[2, :3] @ middle + to_coarse[2, 3])), 0, anatomy.outer.shape[2] - 1))
    i, j = np.nonzero(anatomy.outer[:, :, k] < 0)
    if not len(i):
        return np.array([placement.box[0 if side < 0 else 1, 0] + side * flesh_mm(look), 0.0, z])
    out = i.max() if side > 0 else i.min()
    index = (int(out), round(float(j[i == out].mean())), k)
    edge = placement.find((anatomy.coarse_affine[:3, :3] @ index + anatomy.coarse_affine[:3, 3])[None])[0]
    covers = float(look.body[WALL_MM] * anatomy.walls[index] + look.body[FAT_MM] * anatomy.cover[index])
    return edge + np.array([side * (covers + float(look.body[SKIN_MM])), 0, 0])


def _from_shoulder(
    anatomy: Anatomy,
    placement: Placement,
    of: tuple[str, float],
    radius: float,
    raised: bool,
    rng: np.random.Generator,
) -> list[list[float]]:
    """Continue a humerus that the map cuts off, or start at the shoulder blade, up or down, if it has none."""
    name, side = of
    blade, bone = anatomy.named(f"scapula_{name}"), anatomy.named(f"humerus_{name}")
    if not blade:
        return []
    if bone:
        start, towards, left_mm = _cut_end(anatomy, bone[0], anatomy.centre_mm(blade[0]))
        if left_mm < _CUT_MM:
            return []
    else:
        corners = anatomy.corners_mm(blade[0])
        start = np.array([corners[:, 0].max() if side > 0 else corners[:, 0].min(), *corners.mean(0)[1:]])
        left_mm = _HUMERUS_MM
    if left_mm > _HUMERUS_MM - _HEAD_MM:
        towards = np.array([side * rng.uniform(0.1, 0.5), rng.uniform(-0.2, 0.2), 1.0 if raised else -1.0])
    shoulder = placement.find(start[None])[0]
    towards = placement.turn @ towards
    elbow = shoulder + left_mm * towards / np.linalg.norm(towards)
    inwards = placement.turn @ np.array([-side * rng.uniform(0.1, 0.9), rng.uniform(-0.2, 0.4), 1.0])
    inwards[2] *= np.sign(towards[2]) or 1.0
    return _arm(anatomy, name, shoulder, elbow, elbow + _FOREARM_MM * inwards / np.linalg.norm(inwards), radius)


def _cut_end(anatomy: Anatomy, number: int, shoulder: Point) -> tuple[Point, Point, float]:
    """Return the cut end of a humerus and its direction, in mm of the map, and the missing length in mm."""
    box = anatomy.boxes[number]
    index = np.argwhere(anatomy.numbers[box] == number) + [side.start for side in box]
    found = index @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    away = np.linalg.norm(found - shoulder, axis=1)
    end, start = found[away > away.max() - 12].mean(0), found[away < away.min() + 12].mean(0)
    is_cut = any(side.start <= 1 or side.stop >= n - 1 for side, n in zip(box, anatomy.numbers.shape, strict=True))
    return end, end - start, _HUMERUS_MM - float(np.linalg.norm(end - start)) if is_cut else 0.0


def _arm(anatomy: Anatomy, name: str, shoulder: Point, elbow: Point, hand: Point, radius: float) -> list[list[float]]:
    """Upper arm and forearm; the bone of the upper arm counts as what the map calls it."""
    humerus = f"humerus_{name}"
    number = anatomy.labels.channel(humerus) + 1 if humerus in anatomy.labels else 0
    return [
        [*elbow, *shoulder, radius * 1.1, _BONE_MM[0], number],
        [*elbow, *hand, radius * 0.85, _BONE_MM[1], -1],
    ]
