"""HU of an anatomy: the tissue is found at several points of each voxel, and the voxel gets their mean."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from tomoseg.bodies.flesh import (
    beside_hu,
    breast_mm,
    covers,
    flesh_hu,
    is_by_arm,
    over_skin_mm,
    region_hu,
)
from tomoseg.bodies.inserts import CELL, Inserts, is_near, on_skin, piece_at
from tomoseg.bodies.inside import inside
from tomoseg.bodies.noise import noise_at, noise_block
from tomoseg.bodies.slots import (
    AIR,
    ASCITES,
    CLOTHES_MM,
    DOWN_X,
    DOWN_Y,
    EFFUSION,
    FAT_MM,
    OF_FILL,
    OF_HIGH,
    OF_LAYER,
    OF_LOW,
    OF_SHOWN,
    SIDE_DOWN,
    SKIN_MM,
    WALL_MM,
)
from tomoseg.kernels import inlined, kernel

f32 = np.float32
POINTS = 64
"""Largest number of points of a voxel."""
THICKEST = f32(2)
"""Wall and fat are nowhere thicker, in shares of their means."""
FAR = 1e5
"""No index of a map is farther than this."""
BARE_MM = f32(18)
"""No structure lies farther outside the outline, which is smooth, than this."""
SPARSE = 3
"""Step through those points deep within one structure."""


class Appearance(NamedTuple):
    """Values drawn for one body.

    Attributes:
        structures: `(n, 10)`, a row per structure, by its number; see `slots`.
        body: Values of the body as a whole; see `slots`.
        breasts: x, y, z and radius of each, in mm along the map's array axes.
        lesions: x, y, z and radius in the same mm, HU, least depth, structure around it, structure that it is.
        arms: Two ends, radius, radius of the bone and structure of the bone (-1 for a forearm), in mm of the scanner.
        inserts: Tubes, wires and spurs, in mm along the map's array axes.
    """

    structures: Float32[np.ndarray, "n 10"]
    body: Float32[np.ndarray, "s"]
    breasts: Float32[np.ndarray, "m 4"]
    lesions: Float32[np.ndarray, "m 8"]
    arms: Float32[np.ndarray, "m 9"]
    inserts: Inserts | None = None


class Map(NamedTuple):
    """The arrays of an `Anatomy`."""

    numbers: UInt8[np.ndarray, "x y z"]
    depth: UInt8[np.ndarray, "x y z"]
    place: UInt8[np.ndarray, "x y z"]
    regions: UInt8[np.ndarray, "x y z"]
    outer: Float32[np.ndarray, "a b c"]
    muscle: Float32[np.ndarray, "a b c"]
    cover: Float32[np.ndarray, "a b c"]
    walls: Float32[np.ndarray, "a b c"]


class ScannerToMap(NamedTuple):
    """The transform from scanner coordinates to voxels of the label map that a body is made of.

    Attributes:
        to_index: `(3, 4)`: scanner mm to index of the map.
        bend: `(i, j, k, 3)`, displacement in voxels of the map, on a grid of the scanner.
        bend_grid: First point of that grid in scanner mm, and the distance of its points.
        spacing: Voxel spacing of the map in mm.
        coarse: `(3, 2)`, factor and offset from an index of the map to one of its coarser grid.
        shift: Position of this body in the noise, in mm.
    """

    to_index: Float32[np.ndarray, "3 4"]
    bend: Float32[np.ndarray, "i j k 3"]
    bend_grid: Float32[np.ndarray, "4"]
    spacing: Float32[np.ndarray, "3"]
    coarse: Float32[np.ndarray, "3 2"]
    shift: Float32[np.ndarray, "3"]


_Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def render(
    anatomy: Map,
    way: ScannerToMap,
    look: Appearance,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    points: tuple[int, int, int],
) -> tuple[Float32[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"], Bool[np.ndarray, "x y z"]]:
    """Draw a body on a grid of the scanner.

    Args:
        anatomy: Arrays of the anatomy.
        way: Transform from the scanner to the map.
        look: Appearance of the body.
        axes: Voxel centres along x, y and z, in scanner mm.
        points: Number of points of a voxel along each axis.

    Returns:
        HU; the number of the structure that most points of a voxel belong to, or 0; a mask of the body.
    """
    shape = tuple(len(axis) for axis in axes)
    out: _Drawn = (np.empty(shape, np.float32), np.zeros(shape, np.uint8), np.zeros(shape, np.bool_))
    x, y, z = (np.asarray(axis, np.float32) for axis in axes)
    steps = [float(axis[1] - axis[0]) for axis in axes]
    offsets = np.array(
        [[((n + 0.5) / m - 0.5) * s for n, m, s in zip(at, points, steps, strict=True)] for at in np.ndindex(*points)],
        np.float32,
    )
    nearby = (offsets @ way.to_index[:, :3].T).astype(np.float32)
    reach = float(np.sqrt((np.square(steps)).sum())) / 2 + 1
    breasts, lesions = look.breasts.copy(), look.lesions.copy()
    breasts[:, :3] += way.shift
    lesions[:, :3] += way.shift
    s, inserts = look.body, look.inserts
    farthest = np.float32(THICKEST * (s[WALL_MM] + s[FAT_MM]) + s[SKIN_MM] + s[CLOTHES_MM] + BARE_MM + reach)
    farthest += np.float32(0.75) * look.breasts[:, 3].sum()
    look = look._replace(breasts=breasts, lesions=lesions, inserts=None)
    near = np.zeros((1, 1, 1), np.uint8) if inserts is None else inserts.near
    given = (noise_block(), anatomy, way, look, (x, y, z), (offsets, nearby, np.float32(reach), farthest, near))
    _render(*given, None, out)
    if inserts is not None and near.any():
        _add_inserts(inserts, given, out)
    return out


def _add_inserts(inserts: Inserts, given: tuple[Any, ...], out: _Drawn) -> None:
    """Draw, with pieces, what was left out: where they are."""
    block, anatomy, way, look, axes, points = given
    pieces = inserts.pieces.copy()
    pieces[:, :6] += np.tile(way.shift, 2)
    box = _box_near(inserts, way, axes)
    there = tuple(part[box].copy() for part in out)
    within = tuple(axis[side] for axis, side in zip(axes, box, strict=True))
    _render(block, anatomy, way, look, within, points, pieces, there)
    for part, drawn in zip(out, there, strict=True):
        part[box] = drawn


def _box_near(
    inserts: Inserts, way: ScannerToMap, axes: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[slice, slice, slice]:
    """The part of a grid of the scanner that holds all cells with pieces; cells at the border stand for all beyond."""
    found = np.argwhere(inserts.near)
    low, high = found.min(0).astype(float), found.max(0) + 1.0
    low[low == 0], high[high == inserts.near.shape] = -np.inf, np.inf
    ends = (np.stack([low, high]) * CELL - way.coarse[:, 1]) / way.coarse[:, 0]
    far = np.abs(way.bend).max((0, 1, 2)) + 1
    ends = np.clip(ends + np.stack([-far, far]), -FAR, FAR)
    corners = np.array([[ends[n, axis] for axis, n in enumerate(at)] for at in np.ndindex(2, 2, 2)])
    placed = np.linalg.solve(way.to_index[:, :3].astype(float), (corners - way.to_index[:, 3]).T).T
    low, high = placed.min(0), placed.max(0)
    x, y, z = (
        slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, "right")))
        for axis, a, b in zip(axes, low, high, strict=True)
    )
    return x, y, z


@kernel(fastmath=True)
def _render(block: Any, anatomy: Any, way: Any, look: Any, axes: Any, points: Any, pieces: Any, out: Any) -> None:
    """Draw voxels that no piece is near, or with pieces the others: compiled for each, since the first is to be fast.

    Arrays are taken out of their tuples once, and what is called is compiled in: to count references to arrays takes
    longer than to draw a voxel.
    """
    hu, numbers, body = out
    xs, ys, zs = axes
    offsets, nearby, reach, farthest, near = points
    charts = (anatomy.numbers, anatomy.depth, anatomy.place, anatomy.regions)
    outer, muscle, cover, walls = anatomy.outer, anatomy.muscle, anatomy.cover, anatomy.walls
    to_index, bend, bend_grid = way.to_index, way.bend, way.bend_grid
    spacing, coarse, shift = way.spacing, way.coarse, way.shift
    table, s, breasts, lesions, arms = look.structures, look.body, look.breasts, look.lesions, look.arms
    later = pieces is not None
    votes = np.zeros(POINTS, np.uint8)
    for i, j, k in np.ndindex(hu.shape):
        at = (xs[i], ys[j], zs[k])
        f = _index(to_index, bend, bend_grid, at)
        if is_near(near, coarse, f) != later:
            continue
        away = _at(outer, coarse, f)
        if _is_air(away, farthest, arms, at, reach):
            hu[i, j, k] = s[AIR]
            continue
        p = (f[0] * spacing[0] + shift[0], f[1] * spacing[1] + shift[1], f[2] * spacing[2] + shift[2])
        wall, fat, slow = covers(block, p, _at(cover, coarse, f), _at(walls, coarse, f), s)
        fat += breast_mm(breasts, p)
        nearest = max(BARE_MM, wall + fat + over_skin_mm(slow, s)) + reach
        if pieces is None and _is_air(away, nearest, arms, at, reach):
            hu[i, j, k] = s[AIR]
            continue
        around = (wall, fat, slow, _at(muscle, coarse, f))
        total, solid, count = f32(0), 0, 0
        for n in range(0, offsets.shape[0], _step(charts, f, reach, pieces)):
            g = (f[0] + nearby[n, 0], f[1] + nearby[n, 1], f[2] + nearby[n, 2])
            p = (g[0] * spacing[0] + shift[0], g[1] * spacing[1] + shift[1], g[2] * spacing[2] + shift[2])
            there = (at[0] + offsets[n, 0], at[1] + offsets[n, 1], at[2] + offsets[n, 2])
            number, depth, place, region = _chart(charts, g, table)
            if number > 0:
                value, own = _structure(block, p, (depth, place, there), number, table, s, lesions)
                flesh = 1
            elif _is_filled(block, p, region, s):
                value, own, flesh = region_hu(block, p, region, s), 0, 1
            else:
                value, own, flesh = _unlabelled(block, p, there, _at(outer, coarse, g), around, arms, s)
            if pieces is not None:
                over = _at(outer, coarse, g) - wall - fat
                value, own, flesh = _with_pieces(pieces, p, over, (value, number, own, flesh), s)
            votes[count] = own
            count += 1
            total += value
            solid += flesh
        hu[i, j, k] = total / count
        numbers[i, j, k] = _most(votes, count)
        body[i, j, k] = 2 * solid >= count


@inlined
def _is_air(away: Any, limit: Any, arms: Any, at: Any, reach: Any) -> Any:
    """Whether a voxel is empty: over `limit` from the body, and over `reach` mm from every arm."""
    return away > limit and not is_by_arm(arms, at, reach)


@inlined
def _step(charts: Any, f: Any, reach: Any, pieces: Any) -> Any:
    """Return the step through a voxel's points: 1 for all of them, or `SPARSE`."""
    return SPARSE if pieces is None and _depth(charts, f) > reach else 1


@inlined
def _unlabelled(block: Any, p: Any, there: Any, away: Any, around: Any, arms: Any, s: Any) -> Any:
    """Return HU, structure and whether it is in the body for a point of flesh, an arm or air."""
    wall, fat, slow, near = around
    value, solid = flesh_hu(block, p, away, near, (wall, fat, slow), s)
    if solid:
        return value, 0, 1
    hu, number, solid = beside_hu(block, arms, there, s)
    return max(value, hu), number, solid


@inlined
def _with_pieces(pieces: Any, p: Any, over: Any, before: Any, s: Any) -> Any:
    """Return a point's HU, structure and whether it is in the body, with a piece in its place."""
    value, number, own, flesh = before
    piece, hu = piece_at(pieces, p, number)
    if piece >= 0:
        return hu, int(pieces[piece, 11]) if pieces[piece, 11] >= 0 else own, 1
    if flesh == 0:
        piece, hu = on_skin(pieces, p, over, s)
    return (hu if piece >= 0 else value), own, flesh


@inlined
def _is_filled(block: Any, p: Any, region: Any, s: Any) -> Any:
    """Whether a region is drawn: the belly only where it has free fluid."""
    if region != 9:
        return region > 0
    return noise_at(block, p[0] * f32(0.04), p[1] * f32(0.04), p[2] * f32(0.04)) < s[ASCITES]


@inlined
def _most(votes: Any, count: Any) -> Any:
    best, most = votes[0], 0
    for n in range(count):
        same = 0
        for m in range(count):
            same += votes[m] == votes[n]
        if same > most:
            best, most = votes[n], same
        if 2 * most >= count:
            break
    return best


@inlined
def _index(m: Any, bend: Any, grid: Any, at: Any) -> Any:
    """Index in the map of a point of the scanner."""
    x = min(max((at[0] - grid[0]) / grid[3], f32(0)), f32(bend.shape[0] - 1.001))
    y = min(max((at[1] - grid[1]) / grid[3], f32(0)), f32(bend.shape[1] - 1.001))
    z = min(max((at[2] - grid[2]) / grid[3], f32(0)), f32(bend.shape[2] - 1.001))
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - f32(i), y - f32(j), z - f32(k)
    a, b, c = f32(0), f32(0), f32(0)
    for di in range(2):
        for dj in range(2):
            for dk in range(2):
                weight = (u if di else f32(1) - u) * (v if dj else f32(1) - v) * (w if dk else f32(1) - w)
                a += weight * bend[i + di, j + dj, k + dk, 0]
                b += weight * bend[i + di, j + dj, k + dk, 1]
                c += weight * bend[i + di, j + dj, k + dk, 2]
    return (
        m[0, 0] * at[0] + m[0, 1] * at[1] + m[0, 2] * at[2] + m[0, 3] + a,
        m[1, 0] * at[0] + m[1, 1] * at[1] + m[1, 2] * at[2] + m[1, 3] + b,
        m[2, 0] * at[0] + m[2, 1] * at[1] + m[2, 2] * at[2] + m[2, 3] + c,
    )


@inlined
def _at(field: Any, coarse: Any, f: Any) -> Any:
    """A field of the coarser grid at an index of the map; its border goes on outside."""
    x = min(max(f[0] * coarse[0, 0] + coarse[0, 1], f32(0)), f32(field.shape[0] - 1.001))
    y = min(max(f[1] * coarse[1, 0] + coarse[1, 1], f32(0)), f32(field.shape[1] - 1.001))
    z = min(max(f[2] * coarse[2, 0] + coarse[2, 1], f32(0)), f32(field.shape[2] - 1.001))
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - f32(i), y - f32(j), z - f32(k)
    a = (f32(1) - w) * field[i, j, k] + w * field[i, j, k + 1]
    b = (f32(1) - w) * field[i, j + 1, k] + w * field[i, j + 1, k + 1]
    c = (f32(1) - w) * field[i + 1, j, k] + w * field[i + 1, j, k + 1]
    d = (f32(1) - w) * field[i + 1, j + 1, k] + w * field[i + 1, j + 1, k + 1]
    return (f32(1) - u) * ((f32(1) - v) * a + v * b) + u * ((f32(1) - v) * c + v * d)


@inlined
def _voxel(shape: Any, f: Any) -> Any:
    """The nearest voxel of the map, whose last slices go on; -1 beside it."""
    i, j, k = int(f[0] + f32(1000.5)) - 1000, int(f[1] + f32(1000.5)) - 1000, int(f[2] + f32(1000.5)) - 1000
    if i < 0 or j < 0 or i >= shape[0] or j >= shape[1]:
        return -1, -1, -1
    return i, j, min(max(k, 0), shape[2] - 1)


@inlined
def _depth(charts: Any, f: Any) -> Any:
    numbers, depth, _, _ = charts
    i, j, k = _voxel(numbers.shape, f)
    return f32(0) if i < 0 else f32(depth[i, j, k]) * f32(0.25)


@inlined
def _chart(charts: Any, f: Any, table: Any) -> Any:
    """Return structure, depth in mm, place and region at an index of the map."""
    numbers, depth, place, regions = charts
    i, j, k = _voxel(numbers.shape, f)
    if i < 0:
        return 0, f32(0), f32(0), 0
    number = int(table[numbers[i, j, k], OF_SHOWN])
    return number, f32(depth[i, j, k]) * f32(0.25), f32(place[i, j, k]), int(regions[i, j, k])


@inlined
def _level(place: Any, there: Any, table: Any, number: Any, s: Any) -> Any:
    """Return the height of a point within a hollow organ, from 0 at its lowest point to 1."""
    low, high = table[number, OF_LOW], table[number, OF_HIGH]
    if high <= low:
        place = place / f32(255)
        return f32(1) - place if s[SIDE_DOWN] == 1 or s[SIDE_DOWN] == 3 else place
    height = -(there[0] * s[DOWN_X] + there[1] * s[DOWN_Y])
    return min(max((height - low) / (high - low), f32(0)), f32(1))


@inlined
def _structure(block: Any, p: Any, where: Any, number: Any, table: Any, s: Any, lesions: Any) -> Any:
    """HU within a structure, or of a lesion in it, and what that counts as."""
    depth, place, there = where
    for n in range(lesions.shape[0]):
        if int(lesions[n, 6]) == number and depth >= lesions[n, 5]:
            x, y, z = p[0] - lesions[n, 0], p[1] - lesions[n, 1], p[2] - lesions[n, 2]
            if x * x + y * y + z * z < lesions[n, 3] * lesions[n, 3]:
                return lesions[n, 4], int(lesions[n, 7])
    fill = table[number, OF_FILL]
    if fill == 1:
        place = place * f32(0.25)
    elif fill != 5:
        place = _level(place, there, table, number, s)
        if fill == 4 and place < table[number, OF_LAYER]:
            return s[EFFUSION], 0
    return inside(block, p, depth, place, number, table, s), number
