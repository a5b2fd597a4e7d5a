"""HU at a point that no structure is at: between structures, in the body's wall, in an arm, beside it. Compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomoseg.bodies.inside import muscle_hu
from tomoseg.bodies.noise import noise_at
from tomoseg.bodies.slots import (
    AIR,
    BONE,
    BRANCHES,
    BUNDLES,
    CLOTH_GAP_MM,
    CLOTH_HU,
    CLOTHES_MM,
    CORTICAL,
    CSF,
    DILATED,
    DISC,
    EFFUSION,
    FAT,
    FAT_MM,
    FLUID,
    INFILTRATION,
    MESH,
    MUCOSA,
    MUSCLE,
    SINUS,
    SKIN,
    SKIN_MM,
    SOFT,
    WALL_MM,
)
from tomoseg.kernels import inlined

f32 = np.float32
ARM_MARGIN = 1.3
"""An uneven arm is nowhere thicker, in shares of its mean."""


@inlined
def region_hu(block: Any, p: Any, region: Any, s: Any) -> Any:
    """HU of a `Region`."""
    if region == 1:
        return s[DISC]
    if region == 2:
        return s[FLUID]
    if region == 3:
        return _face(block, p, s)
    if region == 4:
        slow = noise_at(block, p[0] * f32(0.3), p[1] * f32(0.3), p[2] * f32(0.3))
        return s[SINUS] if slow > f32(0.2) - s[DILATED] else s[FAT]
    if region == 5:
        return s[AIR]
    if region == 7:
        return s[CSF]
    if region == 9:
        return s[EFFUSION]
    if region == 8:
        return _hollow(block, p, s)
    return s[BONE] + f32(0.4) * (s[CORTICAL] - s[BONE])


@inlined
def _hollow(block: Any, p: Any, s: Any) -> Any:
    """Air of nose and sinuses, with their mucosa and conchae."""
    slow = noise_at(block, p[0] * f32(0.17), p[1] * f32(0.12), p[2] * f32(0.12))
    return s[AIR] if slow < f32(0.5) + s[MUCOSA] else s[SOFT]


@inlined
def _face(block: Any, p: Any, s: Any) -> Any:
    """Muscles and fat of face and throat."""
    slow = noise_at(block, p[0] * f32(0.14), p[1] * f32(0.14), p[2] * f32(0.14))
    if slow < f32(-0.4):
        return s[FAT]
    return muscle_hu(block, p, s)


@inlined
def covers(block: Any, p: Any, cover: Any, walls: Any, s: Any) -> Any:
    """Thickness of the wall and of the fat under the skin at a place, and an unevenness of everything there."""
    slow = noise_at(block, p[0] * f32(0.025), p[1] * f32(0.025), p[2] * f32(0.025))
    other = noise_at(block, p[0] * f32(0.013) + f32(31), p[1] * f32(0.013), p[2] * f32(0.013))
    wall = s[WALL_MM] * walls * min(max(f32(0.3), f32(1) + f32(0.25) * slow), f32(2))
    fat = s[FAT_MM] * cover * min(max(f32(0.35), f32(1) + f32(0.22) * other), f32(2)) + f32(1.5)
    return wall, fat, slow


@inlined
def flesh_hu(block: Any, p: Any, outer: Any, muscle: Any, around: Any, s: Any) -> Any:
    """HU of what is not labelled, and whether it is of the body.

    Args:
        block: `noise_block`.
        p: The point in mm of the anatomy.
        outer: See `Anatomy.outer`.
        muscle: See `Anatomy.muscle`.
        around: Thickness of wall and fat here, and unevenness: `covers`.
        s: Of the body; see `slots`.
    """
    wall, fat, slow = around
    if outer < f32(-2) + slow:
        return _between(block, p, muscle + f32(1.5) * slow, s), 1
    if outer < wall:
        return _wall(block, p, outer, wall, s), 1
    rest = outer - wall - fat
    if rest < 0:
        return _fat(block, p, s), 1
    if rest < s[SKIN_MM]:
        return s[SKIN], 1
    if s[CLOTHES_MM] > 0 and abs(rest - s[SKIN_MM] - s[CLOTH_GAP_MM] * (f32(1) + f32(0.4) * slow)) < s[CLOTHES_MM]:
        return s[CLOTH_HU], 0
    return s[AIR], 0


@inlined
def over_skin_mm(slow: Any, s: Any) -> Any:
    """Return the reach of skin and clothes over the fat, in mm."""
    return s[SKIN_MM] + s[CLOTHES_MM] + max(f32(0), s[CLOTH_GAP_MM] * (f32(1) + f32(0.4) * slow))


@inlined
def bundled_hu(block: Any, p: Any, s: Any) -> Any:
    """Several muscles side by side, with planes of fat between them."""
    plane = abs(noise_at(block, p[0] * f32(0.085) + f32(3), p[1] * f32(0.085), p[2] * f32(0.03)))
    if plane < s[BUNDLES]:
        return s[FAT] + f32(0.25) * (s[MUSCLE] - s[FAT])
    return muscle_hu(block, p, s)


@inlined
def _between(block: Any, p: Any, muscle: Any, s: Any) -> Any:
    """Muscle near bones, else fat with vessels and strands in it."""
    if muscle < 0:
        return bundled_hu(block, p, s)
    hu = _fat(block, p, s)
    a = abs(noise_at(block, p[0] * f32(0.2), p[1] * f32(0.2), p[2] * f32(0.2)))
    if a < s[MESH]:
        b = abs(noise_at(block, p[0] * f32(0.2) + f32(19), p[1] * f32(0.2) + f32(3), p[2] * f32(0.2) + f32(51)))
        if b < s[MESH]:
            return hu + (s[BRANCHES] - hu) * min(f32(1), f32(2) * (f32(1) - max(a, b) / s[MESH]))
        return hu + f32(30) * (f32(1) - a / s[MESH])
    return hu


@inlined
def _wall(block: Any, p: Any, outer: Any, wall: Any, s: Any) -> Any:
    """Muscles of the wall in two layers, with thin fat between them."""
    if abs(outer - f32(0.5) * wall) < s[INFILTRATION]:
        return f32(0.6) * s[FAT] + f32(0.4) * s[MUSCLE]
    return muscle_hu(block, p, s)


@inlined
def _fat(block: Any, p: Any, s: Any) -> Any:
    return s[FAT] + f32(6) * noise_at(block, p[0] * f32(0.4), p[1] * f32(0.4), p[2] * f32(0.4))


@inlined
def breast_mm(breasts: Any, p: Any) -> Any:
    """Return the extra thickness of fat over the breasts at a point, in mm; only in front of their middles."""
    more = f32(0)
    for n in range(breasts.shape[0]):
        radius = breasts[n, 3]
        x, z = p[0] - breasts[n, 0], p[2] - breasts[n, 2]
        front = min(max((p[1] - breasts[n, 1] + f32(60)) / f32(40), f32(0)), f32(1))
        more += front * f32(0.75) * radius * max(f32(0), f32(1) - (x * x + z * z) / (radius * radius))
    return more


@inlined
def is_by_arm(arms: Any, at: Any, reach: Any) -> Any:
    """Whether an arm may be within `reach` mm."""
    for n in range(arms.shape[0]):
        away = _from_axis(arms, n, at)[3]
        if away < f32(ARM_MARGIN) * arms[n, 6] + reach:
            return True
    return False


@inlined
def _from_axis(arms: Any, n: Any, at: Any) -> Any:
    """Return the offset of a point from the middle line of an arm, along x, y and z, and its length."""
    ux, uy, uz = arms[n, 3] - arms[n, 0], arms[n, 4] - arms[n, 1], arms[n, 5] - arms[n, 2]
    x, y, z = at[0] - arms[n, 0], at[1] - arms[n, 1], at[2] - arms[n, 2]
    t = min(max((x * ux + y * uy + z * uz) / (ux * ux + uy * uy + uz * uz), f32(0)), f32(1))
    x, y, z = x - t * ux, y - t * uy, z - t * uz
    return x, y, z, np.sqrt(x * x + y * y + z * z)


@inlined
def beside_hu(block: Any, arms: Any, at: Any, s: Any) -> Any:
    """Air or an arm: HU, the structure that its bone is, whether it is of the body."""
    for n in range(arms.shape[0]):
        x, y, _, away = _from_axis(arms, n, at)
        if away < f32(ARM_MARGIN) * arms[n, 6]:
            uneven = noise_at(block, at[0] * f32(0.05) + 900, at[1] * f32(0.05) + 900, at[2] * f32(0.03) + 900)
            outer = away * (f32(1) + f32(0.12) * uneven)
            if outer > arms[n, 6]:
                continue
            if arms[n, 8] < 0:  # a forearm has two bones, side by side
                x = abs(x) - f32(1.4) * arms[n, 7]
                hu, of_bone = _arm(block, at, arms, n, outer, np.sqrt(x * x + y * y), s)
                return hu, 0, 1
            hu, of_bone = _arm(block, at, arms, n, outer, away, s)
            return hu, int(arms[n, 8]) if of_bone else 0, 1
    return s[AIR], 0, 0


@inlined
def _arm(block: Any, at: Any, arms: Any, n: Any, away: Any, from_bone: Any, s: Any) -> Any:
    """HU within an arm, and whether it is its bone."""
    radius, bone = arms[n, 6], arms[n, 7]
    if from_bone < bone:
        return (s[CORTICAL] if from_bone > f32(0.55) * bone else f32(0.3) * s[FAT]), True
    if away > radius - s[SKIN_MM]:
        return s[SKIN], False
    p = (at[0] + f32(900), at[1] + f32(900), at[2] + f32(900))
    limit = radius - f32(3) - f32(0.4) * s[FAT_MM] * min(f32(1), f32(0.6) * radius / (s[FAT_MM] + f32(1)))
    slow = noise_at(block, p[0] * f32(0.09), p[1] * f32(0.09), p[2] * f32(0.04))
    if away > limit + f32(3) * slow:
        return s[FAT], False
    return bundled_hu(block, p, s), False
