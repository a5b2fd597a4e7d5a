"""Filling of closed contours in a slice, the inverse of `contours.py`.

A pixel belongs to a contour if its centre lies inside, by the even-odd rule, or on the line. A line that is followed
in both directions, such as the channel of a keyhole, encloses nothing. Of several contours of one structure in a slice,
one that lies wholly inside the filled area is a hole, as most programs write holes; others are added. Contours of the
type for exclusive or are combined by it.

Source: DICOM PS3.3, C.8.8.6.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from tomoseg.kernels import kernel

ON_LINE = 0.01
"""Distance in pixels at which a centre lies on a line, since coordinates in files are rounded to 0.01 mm."""


def filled(
    lines: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int], exclusive: bool = False
) -> Bool[np.ndarray, "c r"]:
    """Fill the contours of one structure in a slice.

    Args:
        lines: Closed contours, `(points, 2)` as columns and rows, without the first point repeated at the end; pixel
            centres are integers. Parts beyond the slice are cut off.
        shape: Columns and rows.
        exclusive: Whether to combine contours by exclusive or.

    Example:
        >>> square = np.array([[0.5, 0.5], [3.5, 0.5], [3.5, 3.5], [0.5, 3.5]])
        >>> hole = np.array([[1.5, 1.5], [2.5, 1.5], [2.5, 2.5], [1.5, 2.5]])
        >>> filled([square, hole], (5, 5)).astype(int).tolist()
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    out = np.zeros(shape, bool)
    start, stop = _box(lines, shape)
    box = out[start[0] : stop[0], start[1] : stop[1]]
    if box.size:
        box[:] = _filled([line - start for line in _each_once(lines)], (box.shape[0], box.shape[1]), exclusive)
    return out


def _box(
    lines: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int]
) -> tuple[Int64[np.ndarray, "2"], Int64[np.ndarray, "2"]]:
    """Return the first pixel of the contours' bounding box, and the one after the last."""
    points = np.concatenate(lines) if lines else np.zeros((0, 2))
    if not len(points):
        return np.zeros(2, np.int64), np.zeros(2, np.int64)
    start = np.clip(np.floor(points.min(axis=0)), 0, shape)
    return start.astype(np.int64), np.clip(np.ceil(points.max(axis=0)) + 1, 0, shape).astype(np.int64)


def _filled(
    lines: Sequence[Float[np.ndarray, "_ 2"]], shape: tuple[int, int], exclusive: bool
) -> Bool[np.ndarray, "c r"]:
    inside = np.zeros(shape, bool)
    on_line = np.zeros(shape, bool)
    each = [(_within(line, shape), line) for line in lines]
    for mask, line in sorted(each, key=lambda one: -int(np.count_nonzero(one[0]))):
        _mark(_edges(line), on_line)
        if exclusive or not (mask & ~inside).any():
            inside ^= mask
        else:
            inside |= mask
    return inside | on_line


def _each_once(lines: Sequence[Float[np.ndarray, "_ 2"]]) -> list[Float[np.ndarray, "_ 2"]]:
    """Drop repeated contours, which would be taken for holes."""
    return list({line.tobytes(): line for line in lines}.values())


def _within(line: Float[np.ndarray, "n 2"], shape: tuple[int, int]) -> Bool[np.ndarray, "c r"]:
    """Return the pixels whose centres lie inside, by the even-odd rule."""
    changes = np.zeros((shape[0] + 1, shape[1]), np.uint8)
    _cross(line, np.roll(line, -1, axis=0), changes)
    return np.bitwise_xor.accumulate(changes[:-1], axis=0).astype(bool)


def _edges(line: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 4"]:
    """Return the edges of a contour, without those that are followed in both directions."""
    edges = np.concatenate([line, np.roll(line, -1, axis=0)], axis=1)
    if len(line) < 3:  # a single pixel or a row of pixels
        return edges
    rounded = np.round(edges, 6) + 0.0
    known = {edge.tobytes() for edge in rounded}
    back = [np.roll(edge, 2).tobytes() in known for edge in rounded]
    return edges[~np.array(back, bool)]


@kernel()
def _cross(starts: Float[np.ndarray, "n 2"], ends: Float[np.ndarray, "n 2"], changes: UInt8[np.ndarray, "c r"]) -> None:
    """Mark, in each row that an edge crosses, the first column beyond it."""
    columns, rows = changes.shape
    for edge in range(len(starts)):
        x0, y0 = starts[edge]
        x1, y1 = ends[edge]
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        for row in range(max(0, int(np.ceil(y0))), min(rows, int(np.ceil(y1)))):
            x = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
            column = min(max(int(np.ceil(x)), 0), columns - 1)
            changes[column, row] ^= 1


@kernel()
def _mark(edges: Float[np.ndarray, "m 4"], on_line: Bool[np.ndarray, "c r"]) -> None:
    """Mark the pixels whose centres lie on an edge."""
    for edge in range(len(edges)):
        x0, y0, x1, y1 = edges[edge]
        if abs(x1 - x0) >= abs(y1 - y0):
            _mark_along(x0, x1, y0, y1, on_line)
        else:
            _mark_along(y0, y1, x0, x1, on_line.T)


@kernel()
def _mark_along(start: float, stop: float, other: float, to: float, on_line: Bool[np.ndarray, "c r"]) -> None:
    """Mark the pixels on an edge that goes farther along the first axis than along the other."""
    low, high = min(start, stop) - ON_LINE, max(start, stop) + ON_LINE
    for step in range(max(0, int(np.ceil(low))), min(on_line.shape[0], int(np.floor(high)) + 1)):
        share = 0.0 if stop == start else min(max((step - start) / (stop - start), 0.0), 1.0)
        place = other + share * (to - other)
        near = int(np.rint(place))
        if abs(place - near) <= ON_LINE and 0 <= near < on_line.shape[1]:
            on_line[step, near] = True
