"""Closed contours around a mask in a slice, with holes kept.

A contour runs midway between the centres of pixels inside and outside, so that filling it gives exactly the pixels of
the mask, and it is never more than half a pixel from the border between them. A hole is joined to the contour around it
by a channel without width (a keyhole). The result is one closed contour, which every fill rule fills in the same way,
as the standard requires of contours that are not combined by exclusive or.

Source: DICOM PS3.3, C.8.8.6.3.
"""

from __future__ import annotations

import math
from itertools import pairwise

import contourpy
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

_INSIDE, _ABOVE_ALL = 0.5, 2.0
_STRAIGHT = 1e-9
_NEIGHBOURS = 16


def contours(mask: Bool[np.ndarray, "c r"]) -> list[Float[np.ndarray, "_ 2"]]:
    """Return the contours of one slice.

    Args:
        mask: `(columns, rows)` bool.

    Returns:
        For each connected part one closed contour, `(points, 2)`, as columns and rows; pixel centres are integers. The
        first point is not repeated at the end.

    Example:
        >>> contours(np.array([[True]]))[0].tolist()
        [[0.0, -0.5], [-0.5, 0.0], [0.0, 0.5], [0.5, 0.0]]
    """
    padded = np.pad(mask, 1).astype(np.float64)
    generator = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset)
    found = []
    for points, offsets in zip(*generator.filled(_INSIDE, _ABOVE_ALL), strict=True):
        # contourpy's x runs along the second axis of its array, here the rows of the slice
        lines = [points[start : stop - 1, ::-1] - 1 for start, stop in pairwise(offsets.tolist())]
        found.append(_with_keyholes([_straightened(line) for line in lines]))
    return found


def _straightened(line: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
    """Remove the points in the middle of straight parts."""
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > _STRAIGHT
    return line[turns]


def _with_keyholes(lines: list[Float[np.ndarray, "_ 2"]]) -> Float[np.ndarray, "m 2"]:
    """Join each hole to the outer contour, or to a hole that is already joined."""
    joined, *holes = lines
    for hole in holes:
        here, there = _channel(joined, hole)
        around = np.roll(hole, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], around, around[:1], joined[here:]])
    return joined


def _channel(joined: Float[np.ndarray, "n 2"], hole: Float[np.ndarray, "m 2"]) -> tuple[int, int]:
    """Return a near point of either line with no pixel centre between them, which would be neither inside nor out."""
    near = min(_NEIGHBOURS, len(joined))
    distances, neighbours = cKDTree(joined).query(hole, near)
    order = np.argsort(distances, axis=None, kind="stable")
    pairs = [(int(neighbours.reshape(-1)[pair]), int(pair) // near) for pair in order]
    return next((pair for pair in pairs if _is_clear(joined[pair[0]], hole[pair[1]])), pairs[0])


def _is_clear(start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"]) -> bool:
    """Whether no pixel centre lies between two points; in units of half pixels, centres have even coordinates."""
    column, row = (int(half) for half in np.rint(2 * start))
    columns, rows = (int(half) for half in np.rint(2 * (end - start)))
    steps = math.gcd(columns, rows)
    if steps < 2:
        return True
    return bool((column + columns // steps) % 2 or (row + rows // steps) % 2)
