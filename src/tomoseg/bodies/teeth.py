"""Teeth in jaws: crowns of enamel around dentine, roots, gaps, fillings. They count as the jaw where the map does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import TeethConfig
from tomoseg.bodies.inserts import Capsule

Points = Float[np.ndarray, "n 3"]
Place = tuple[float, float, float]

_UPPER_MM = (8.5, 6.5, 7.5, 7.0, 7.0, 10.0, 9.0)
_LOWER_MM = (5.0, 5.5, 7.0, 7.0, 7.0, 11.0, 10.5)
"""Widths of the crowns from the middle to the second molar, as textbooks of dental anatomy give them."""
_JAWS = ("skull", "mandible", "jaw")
_FRONT_MM = 45.0
"""Distance from the bone's foremost point that holds the chin but not the base of the skull."""
_CHIN_MM = 15.0
_BEHIND_MM = 38.0
"""The arch is searched around a point this far behind its foremost point."""
_STEP_DEG = 4.0
_WIDEST_DEG = 128.0
_LAYER_MM = 2.5
_GAP_MM = 4.0
"""Bone farther behind other bone on the way out is no part of the arch."""
_JUMP_MM = 7.0
_CLOSED_MM = 0.4
"""Half of what is left between upper and lower teeth."""
_CAP_MM = 1.0
_SHORTEST_MM = 25.0
"""An arch that is shorter on both sides together is a chin."""


def draw_teeth(
    anatomy: Anatomy, shown: set[int], config: TeethConfig, metal_hu: float, rng: np.random.Generator
) -> list[Capsule]:
    """Draw the teeth of one body; none where the map has no jaw, or ends below them.

    Args:
        anatomy: The body.
        shown: Numbers of the structures that it has.
        config: Shares of bodies and ranges.
        metal_hu: HU of fillings.
        rng: Source of every random choice.
    """
    jaws = [n for n in sorted(shown) if _is_jaw(anatomy.labels.names[n - 1])]
    if not jaws or rng.random() < config.toothless_share:
        return []
    bone = np.concatenate([_where(anatomy, number) for number in jaws])
    front = bone[bone[:, 1] > bone[:, 1].max() - _FRONT_MM]
    chin = front[:, 2].min()
    middle = float(front[front[:, 2] < chin + _CHIN_MM, 0].mean())
    bite = chin + rng.uniform(*config.bite_mm)
    lacking, filled = (rng.uniform(*ends) for ends in (config.lacking, config.filled))
    pieces: list[Capsule] = []
    for widths, way in ((_LOWER_MM, -1.0), (_UPPER_MM, 1.0)):
        crown = rng.uniform(*config.crown_mm)
        arch = _arch(bone, middle, bite + way * (crown + _LAYER_MM))
        for x, y, width in _along(arch, middle, widths):
            is_lacking, is_filled = rng.random(2) < (lacking, filled)
            at = np.array([x, y, bite + way * _CLOSED_MM])
            if not is_lacking:
                pieces += _tooth(at, way, width, crown, metal_hu * is_filled, config, rng)
    return pieces


def _is_jaw(name: str) -> bool:
    return any(word in name.lower() for word in _JAWS)


def _where(anatomy: Anatomy, number: int) -> Points:
    """The voxels of a structure in mm of the map's own axes."""
    box = anatomy.boxes[number]
    found = np.argwhere(anatomy.numbers[box] == number) + [side.start for side in box]
    return found * np.array(anatomy.spacing_mm)


def _arch(bone: Points, middle: float, height: float) -> list[Place]:
    """The middle line of a jaw's bone at a height, as angle from the front, x and y; nothing where there is none."""
    level = bone[np.abs(bone[:, 2] - height) < _LAYER_MM]
    if not len(level):
        return []
    front = level[np.abs(level[:, 0] - middle) < _CHIN_MM]
    if not len(front):
        return []
    centre = np.array([middle, front[:, 1].max() - _BEHIND_MM])
    away = level[:, :2] - centre
    radius, angle = np.hypot(*away.T), np.rad2deg(np.arctan2(away[:, 0], away[:, 1]))
    line: list[Place] = []
    for side in (-1.0, 1.0):
        last: float | None = None
        found: list[Place] = []
        for at in side * np.arange(_STEP_DEG / 2, _WIDEST_DEG, _STEP_DEG):
            there = np.sort(radius[np.abs(angle - at) < _STEP_DEG])
            if not len(there):
                break
            ends = np.flatnonzero(np.diff(there) > _GAP_MM)
            r = float(there[: ends[0] + 1].mean() if len(ends) else there.mean())
            if last is not None and abs(r - last) > _JUMP_MM:
                break
            last = r
            turn = np.deg2rad(at)
            found.append((float(at), float(centre[0] + r * np.sin(turn)), float(centre[1] + r * np.cos(turn))))
        line += found
    return sorted(line)


def _along(arch: list[Place], middle: float, widths: Sequence[float]) -> list[Place]:
    """Place teeth side by side from the middle of an arch outwards: x, y and width of each."""
    if len(arch) < 3:
        return []
    points = np.array(arch)[:, 1:]
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    if length[-1] < _SHORTEST_MM:
        return []
    start = float(np.interp(middle, points[:, 0], length)) if (np.diff(points[:, 0]) > 0).all() else length[-1] / 2
    at = np.cumsum(widths) - np.array(widths) / 2
    found = []
    for side in (-1.0, 1.0):
        for place, width in zip(start + side * at, widths, strict=True):
            if 0 <= place <= length[-1]:
                x, y = (float(np.interp(place, length, points[:, axis])) for axis in (0, 1))
                found.append((x, y, width))
    return found


def _tooth(
    at: Float[np.ndarray, "3"], way: float, width: float, crown_mm: float, filling_hu: float, config: TeethConfig,
    rng: np.random.Generator,
) -> list[Capsule]:  # fmt: skip
    """Draw a crown on its root, and a filling if it has one.

    Args:
        at: Middle of the chewing surface, in mm along the map's array axes.
        way: Direction of the root: -1 downwards, 1 upwards.
        width: Width of the crown in mm.
        crown_mm: Height of the crown.
        filling_hu: HU of the filling; 0 if there is none.
        config: Ranges to draw from.
        rng: Source of enamel, dentine and root.
    """
    enamel, dentine, pulp = (rng.uniform(*ends) for ends in (config.enamel_hu, config.dentine_hu, config.pulp_hu))
    thick, root = rng.uniform(*config.enamel_mm), rng.uniform(*config.root_mm)
    radius = 0.48 * width
    to_root = np.array([0.0, 0, way])
    top, neck = at + radius * to_root, at + max(crown_mm, radius + 0.5) * to_root
    tip = neck + root * to_root
    capped = filling_hu > 0 and rng.random() < config.capped_share
    if capped:
        enamel, thick = filling_hu, min(thick, _CAP_MM)
    pieces = [
        Capsule(_point(top), _point(neck), radius, radius - thick, enamel, dentine),
        Capsule(_point(neck), _point(tip), 0.6 * radius, 0.2 * radius, dentine, pulp),
    ]
    if filling_hu > 0 and not capped:
        middle = _point(at + 0.35 * radius * to_root)
        pieces.append(Capsule(middle, middle, 0.5 * radius, 0.0, filling_hu, filling_hu))
    return pieces


def _point(at: Float[np.ndarray, "3"]) -> Place:
    return float(at[0]), float(at[1]), float(at[2])
