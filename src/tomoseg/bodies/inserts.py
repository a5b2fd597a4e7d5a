"""Tubes, wires and spurs in a body: straight pieces with round ends, found fast by a coarse grid. Compiled in part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from tomoseg.bodies.slots import SKIN_MM
from tomoseg.kernels import inlined

f32 = np.float32
CELL = 4
"""Voxels of the coarser grid along an edge of a cell."""
ANYWHERE, UNLABELLED, ON_SKIN = 0, 1, 2
"""Places of a piece: through everything; outside structures only; on the skin in front of its position."""
AS_THERE = -1
"""Label of a piece that takes the label of the structure around it."""
_STEP_MM = 5.0


class Capsule(NamedTuple):
    """A straight piece with round ends; pieces that meet at their ends make a tube.

    Attributes:
        start: One end, in mm along the map's array axes.
        end: The other end.
        radius_mm: Outer radius; on the skin half its thickness.
        hollow_mm: Inner radius, 0 if it is solid; on the skin half its width.
        hu: HU of its wall.
        inside_hu: HU of its content.
        where: `ANYWHERE`, `UNLABELLED` or `ON_SKIN`.
        counts: Number of the structure that it is labelled as, or `AS_THERE`.
    """

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius_mm: float
    hollow_mm: float
    hu: float
    inside_hu: float = 0.0
    where: int = ANYWHERE
    counts: int = AS_THERE

    def row(self) -> list[float]:
        """Return the piece as a row of `Inserts.pieces`."""
        return [*self.start, *self.end, *self[2:]]


class Inserts(NamedTuple):
    """Pieces, with the cells of the coarser grid that may hold some.

    Attributes:
        pieces: `(m, 12)`, rows of `Capsule`.
        near: 1 for cells near a piece; each is `CELL` voxels of the coarser grid wide.
    """

    pieces: Float32[np.ndarray, "m 12"]
    near: UInt8[np.ndarray, "a b c"]


def along(
    points: Float[np.ndarray, "n 3"], radius_mm: float, hollow_mm: float, hu: float, inside_hu: float = 0.0,
    where: int = ANYWHERE,
) -> list[Capsule]:  # fmt: skip
    """Make a tube through points."""
    return [
        Capsule((a[0], a[1], a[2]), (b[0], b[1], b[2]), radius_mm, hollow_mm, hu, inside_hu, where)
        for a, b in zip(points[:-1].tolist(), points[1:].tolist(), strict=True)
    ]


def inserts(
    pieces: Sequence[Capsule],
    shape: tuple[int, ...],
    coarse: Float32[np.ndarray, "3 2"],
    spacing_mm: Float32[np.ndarray, "3"],
) -> Inserts:
    """Find the cells that pieces may be in.

    Args:
        pieces: In mm of the map's own axes.
        shape: The shape of the coarser grid.
        coarse: See `ScannerToMap`.
        spacing_mm: Voxel spacing of the map.
    """
    near = np.zeros([-(-n // CELL) for n in shape], np.uint8)
    scale = coarse[:, 0] / spacing_mm / CELL
    for piece in pieces:
        start, end = np.array(piece.start), np.array(piece.end)
        steps = int(np.linalg.norm(end - start) / _STEP_MM) + 2
        points = start + np.linspace(0, 1, steps)[:, None] * (end - start)
        reach = (piece.radius_mm + _STEP_MM) * scale + 0.5  # half a cell: a voxel's points lie around its middle
        for at in points * scale + coarse[:, 1] / CELL:
            low = np.maximum(np.floor(at - reach), 0).astype(int)
            high = np.maximum(np.floor(at + reach), -1).astype(int) + 1
            x, y, z = (slice(a, b) for a, b in zip(low, high, strict=True))
            near[x, slice(low[1], None) if piece.where == ON_SKIN else y, z] = 1
    return Inserts(np.array([piece.row() for piece in pieces], np.float32).reshape(-1, 12), near)


@inlined
def is_near(near: Any, coarse: Any, f: Any) -> Any:
    """Whether a piece may be within some millimetres of a voxel of the map."""
    i = int((f[0] * coarse[0, 0] + coarse[0, 1]) / f32(4))
    j = int((f[1] * coarse[1, 0] + coarse[1, 1]) / f32(4))
    k = int((f[2] * coarse[2, 0] + coarse[2, 1]) / f32(4))
    i, j, k = min(max(i, 0), near.shape[0] - 1), min(max(j, 0), near.shape[1] - 1), min(max(k, 0), near.shape[2] - 1)
    return near[i, j, k] > 0


@inlined
def piece_at(pieces: Any, p: Any, number: Any) -> Any:
    """The piece that a point is most deeply in, and its HU there; -1 if there is none.

    Args:
        pieces: Rows of `Capsule`, moved as the point is.
        p: The point.
        number: The structure that it is in, or 0.
    """
    best, found, hu = f32(1), -1, f32(0)
    for n in range(pieces.shape[0]):
        if pieces[n, 10] == 2 or (pieces[n, 10] == 1 and number > 0):
            continue
        ux, uy, uz = pieces[n, 3] - pieces[n, 0], pieces[n, 4] - pieces[n, 1], pieces[n, 5] - pieces[n, 2]
        x, y, z = p[0] - pieces[n, 0], p[1] - pieces[n, 1], p[2] - pieces[n, 2]
        t = (x * ux + y * uy + z * uz) / (ux * ux + uy * uy + uz * uz + f32(1e-6))
        t = min(max(t, f32(0)), f32(1))
        x, y, z = x - t * ux, y - t * uy, z - t * uz
        away = (x * x + y * y + z * z) / (pieces[n, 6] * pieces[n, 6])
        if away < best:
            best, found = away, n
            hu = pieces[n, 9] if np.sqrt(away) * pieces[n, 6] < pieces[n, 7] else pieces[n, 8]
    return found, hu


@inlined
def on_skin(pieces: Any, p: Any, over: Any, s: Any) -> Any:
    """The piece that lies on the skin at a point in front of it, and its HU; -1 if there is none.

    Args:
        pieces: Rows of `Capsule`, moved as the point is.
        p: The point.
        over: How far the point lies over wall and fat, in mm.
        s: Of the body; see `slots`.
    """
    for n in range(pieces.shape[0]):
        if pieces[n, 10] != 2 or over > s[SKIN_MM] + f32(2) * pieces[n, 6] or p[1] < pieces[n, 1]:
            continue
        ux, uz = pieces[n, 3] - pieces[n, 0], pieces[n, 5] - pieces[n, 2]
        x, z = p[0] - pieces[n, 0], p[2] - pieces[n, 2]
        t = min(max((x * ux + z * uz) / (ux * ux + uz * uz + f32(1e-6)), f32(0)), f32(1))
        x, z = x - t * ux, z - t * uz
        if x * x + z * z < pieces[n, 7] * pieces[n, 7]:
            return n, pieces[n, 8]
    return -1, f32(0)
