"""HU at a point within a structure, by how the structure is filled. Compiled; points are in mm of the anatomy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomoseg.bodies.noise import noise_at
from tomoseg.bodies.slots import (
    AIR,
    BRANCHES,
    CALCIFICATION,
    CALCIFIED,
    CONSOLIDATED,
    CORTEX_HU,
    CORTICAL,
    CSF,
    FAT,
    GUT_WALL_MM,
    INFILTRATION,
    KIDNEY_CORTEX_MM,
    LEFT_BLOOD,
    LUNG_VESSELS,
    MUSCLE,
    OF_CONTENT,
    OF_EXTRA,
    OF_FILL,
    OF_GAS,
    OF_HIGH,
    OF_HU,
    OF_LAYER,
    OF_LOW,
    OF_ROUGH,
    PATCH_SHARE,
    PATCHES,
    RIGHT_BLOOD,
    SOFT,
    TEXTURE,
    VOXEL_MM,
)
from tomoseg.kernels import inlined

f32 = np.float32


@inlined
def inside(block: Any, p: Any, depth: Any, place: Any, number: Any, table: Any, s: Any) -> Any:
    """HU of a structure at a point.

    Args:
        block: `noise_block`.
        p: The point.
        depth: Under the structure's surface in mm.
        place: See `Anatomy.place`.
        number: The structure.
        table: Of structures; see `slots`.
        s: Of the body; see `slots`.
    """
    fill = table[number, OF_FILL]
    if fill == 1:
        return _bone(block, p, depth, place, number, table, s)
    if fill == 2:
        return _gut(block, p, depth, place, number, table, s)
    if fill == 3:
        return _kidney(block, p, depth, number, table, s)
    if fill == 4:
        return _lung(block, p, place, number, table, s)
    if fill == 5:
        return _heart(block, p, depth, place, number, table, s)
    if fill == 12:
        return muscle_hu(block, p, s)
    if fill == 15:
        return _lobules(block, p, depth, number, table, s)
    return _others(block, p, depth, place, number, table, s, fill)


@inlined
def _others(block: Any, p: Any, depth: Any, place: Any, number: Any, table: Any, s: Any, fill: Any) -> Any:
    hu = table[number, OF_HU]
    if fill == 6:
        return _artery(block, p, depth, number, table, s)
    if fill == 8:
        return hu + _grain(block, p, s) + _vessels(block, p, f32(0.11), f32(0.16), s[BRANCHES] - hu)
    if fill == 9:
        return _fluid(block, p, depth, place, number, table, s)
    if fill == 11:
        return _brain(block, p, depth, hu)
    if fill == 13:
        return hu + f32(25) * max(f32(0), noise_at(block, p[0] / 2, p[1] / 2, p[2] / 2))
    if fill == 14:
        return hu if depth > table[number, OF_LAYER] else s[CSF]
    if fill == 10 or fill == 7:
        return hu
    return hu + _grain(block, p, s)


@inlined
def _grain(block: Any, p: Any, s: Any) -> Any:
    return s[TEXTURE] * noise_at(block, p[0] * f32(0.6), p[1] * f32(0.6), p[2] * f32(0.6))


@inlined
def _vessels(block: Any, p: Any, scale: Any, width: Any, contrast: Any) -> Any:
    """Tubes where two noises are both near zero; a contrast within, fading at the wall."""
    x, y, z = p[0] * scale, p[1] * scale, p[2] * scale
    a = abs(noise_at(block, x, y, z))
    if a > width:
        return f32(0)
    b = abs(noise_at(block, x + f32(23), y + f32(41), z + f32(11)))
    if b > width:
        return f32(0)
    return contrast * min(f32(1), f32(2.5) * (f32(1) - max(a, b) / width))


@inlined
def muscle_hu(block: Any, p: Any, s: Any) -> Any:
    """Muscle with streaks of fat between its fibres, which run along the body."""
    hu = s[MUSCLE] + s[TEXTURE] * noise_at(block, p[0] * f32(0.7), p[1] * f32(0.7), p[2] * f32(0.25))
    streak = abs(noise_at(block, p[0] * f32(0.3) + f32(7), p[1] * f32(0.3), p[2] * f32(0.08)))
    if streak < s[INFILTRATION]:
        patch = noise_at(block, p[0] * f32(0.07), p[1] * f32(0.07), p[2] * f32(0.05))
        share = (f32(1) - streak / s[INFILTRATION]) * min(max(f32(0.35) + f32(0.3) * patch, f32(0)), f32(0.85))
        hu += share * (s[FAT] - hu)
    return hu


@inlined
def _bone(block: Any, p: Any, depth: Any, radius: Any, number: Any, table: Any, s: Any) -> Any:
    """A shell around spongy bone; slender parts of it (shafts, arches) have another shell and another core."""
    slender = min(max((table[number, OF_GAS] - radius) / (f32(0.3) * table[number, OF_GAS]), f32(0)), f32(1))
    shell = table[number, OF_EXTRA] + slender * (table[number, OF_ROUGH] - table[number, OF_EXTRA])
    core = table[number, OF_HU] + slender * (table[number, OF_CONTENT] - table[number, OF_HU])
    share = (shell - depth) / s[VOXEL_MM] + f32(0.5)  # of a voxel of the map, which shells are often thinner than
    if share >= f32(1):
        return s[CORTICAL]
    rough = noise_at(block, p[0] * f32(0.8), p[1] * f32(0.8), p[2] * f32(0.8))
    slow = noise_at(block, p[0] * f32(0.15), p[1] * f32(0.15), p[2] * f32(0.15))
    core += (f32(35) + f32(0.16) * abs(core)) * rough + f32(0.22) * abs(core) * slow
    return core + max(share, f32(0)) * (s[CORTICAL] - core)


@inlined
def _gut(block: Any, p: Any, depth: Any, place: Any, number: Any, table: Any, s: Any) -> Any:
    if depth < s[GUT_WALL_MM]:
        return table[number, OF_HU] + _grain(block, p, s)
    slow = noise_at(block, p[0] * f32(0.06), p[1] * f32(0.06), p[2] * f32(0.06))
    gas = table[number, OF_GAS]
    if table[number, OF_HIGH] <= table[number, OF_LOW]:  # levels differ from loop to loop
        gas += f32(0.32) * slow
    if place > f32(1) - gas:
        return s[AIR]
    content = table[number, OF_CONTENT]
    rough = table[number, OF_ROUGH]
    fine = noise_at(block, p[0] * f32(0.45), p[1] * f32(0.45), p[2] * f32(0.45))
    if rough > f32(30) and fine > f32(1.1):
        return content - rough * f32(5) * (fine - f32(1.1))  # bubbles
    return content + rough * fine + f32(10) * slow


@inlined
def _kidney(block: Any, p: Any, depth: Any, number: Any, table: Any, s: Any) -> Any:
    columns = noise_at(block, p[0] * f32(0.22), p[1] * f32(0.22), p[2] * f32(0.22))
    share = min(max((depth - s[KIDNEY_CORTEX_MM] - f32(2.4) * columns) / f32(1.5) + f32(0.5), f32(0)), f32(1))
    cortex = s[CORTEX_HU]
    limit = table[number, OF_EXTRA]
    if limit > 0 and depth > limit + columns:
        return table[number, OF_CONTENT]  # urine
    return cortex + share * (table[number, OF_HU] - cortex) + _grain(block, p, s)


@inlined
def _lung(block: Any, p: Any, place: Any, number: Any, table: Any, s: Any) -> Any:
    slow = noise_at(block, p[0] * f32(0.12), p[1] * f32(0.12), p[2] * f32(0.12))
    if place < table[number, OF_EXTRA] + f32(0.06) * slow:
        return s[CONSOLIDATED] + _grain(block, p, s)
    hu = table[number, OF_HU] + f32(45) * (f32(0.5) - place) + f32(14) * slow
    if noise_at(block, p[0] * f32(0.055), p[1] * f32(0.055), p[2] * f32(0.055)) > s[PATCHES]:
        hu += s[PATCH_SHARE] * (s[CONSOLIDATED] - hu)
    wide = _vessels(block, p, f32(0.11), s[LUNG_VESSELS], f32(40) - hu)
    if wide > 0:
        return hu + wide
    return hu + _vessels(block, p, f32(0.5), s[LUNG_VESSELS], f32(40) - hu)


@inlined
def _heart(block: Any, p: Any, depth: Any, place: Any, number: Any, table: Any, s: Any) -> Any:
    chamber = int(place) // 2
    wall = f32(2.5)
    if chamber == 1 and int(place) % 2 == 1:
        wall = f32(10)
    rough = f32(1.5) * noise_at(block, p[0] * f32(0.2), p[1] * f32(0.2), p[2] * f32(0.2))
    if chamber == 0 or depth < wall + rough:
        return table[number, OF_HU] + _grain(block, p, s)
    return s[LEFT_BLOOD] if chamber == 1 else s[RIGHT_BLOOD]


@inlined
def _lobules(block: Any, p: Any, depth: Any, number: Any, table: Any, s: Any) -> Any:
    """A gland with fat in the gaps between its lobules, which are open at its surface."""
    hu = table[number, OF_HU] + _grain(block, p, s)
    width = table[number, OF_EXTRA]
    if width < 0:
        return hu
    gap = abs(noise_at(block, p[0] * f32(0.5), p[1] * f32(0.5), p[2] * f32(0.5)))
    width += f32(0.15) * max(f32(0), f32(3) - depth)
    share = min(max((width - gap) / f32(0.4) + f32(0.5), f32(0)), f32(1))
    return hu + share * (s[FAT] - hu)


@inlined
def _artery(block: Any, p: Any, depth: Any, number: Any, table: Any, s: Any) -> Any:
    if depth < f32(2) and s[CALCIFIED] > 0:
        plaque = noise_at(block, p[0] * f32(0.28), p[1] * f32(0.28), p[2] * f32(0.28))
        if plaque > f32(2.2) - s[CALCIFIED]:
            return s[CALCIFICATION]
    return table[number, OF_HU]


@inlined
def _fluid(block: Any, p: Any, depth: Any, place: Any, number: Any, table: Any, s: Any) -> Any:
    if depth < f32(1.6):
        return s[SOFT]
    if place < table[number, OF_LAYER]:
        return table[number, OF_CONTENT]
    return table[number, OF_HU]


@inlined
def _brain(block: Any, p: Any, depth: Any, hu: Any) -> Any:
    fold = abs(noise_at(block, p[0] * f32(0.3), p[1] * f32(0.3), p[2] * f32(0.3)))
    if depth < f32(14) and fold < f32(0.22) * (f32(1) - depth / f32(14)):
        return f32(9)
    return hu + (f32(4) if fold < f32(0.5) else f32(-3))
