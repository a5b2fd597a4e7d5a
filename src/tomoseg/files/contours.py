"""Closed contours around a mask in a slice, holes kept.

A contour runs midway between the centres of pixels inside and outside, so that filling it takes in exactly the pixels
of the mask, and the line is never more than half a pixel from the border between them. A hole is joined to the line
around it by a channel without width (a keyhole): one closed contour, which any rule of filling fills in the same way,
as the standard asks of contours that are not meant to be combined by exclusive or.

Source: DICOM PS3.3, C.8.8.6.3.
"""

from __future__ import annotations

from itertools import pairwise

import contourpy
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

_INSIDE, _ABOVE_ALL = 0.5, 2.0
_STRAIGHT = 1e-9


def contours(mask: Bool[np.ndarray, "c r"]) -> list[Float[np.ndarray, "n 2"]]:
    """The contours of one slice.

    Args:
        mask: Columns and rows.

    Returns:
        One closed contour for each connected part, as columns and rows of its points; pixel centres are whole numbers.
        The last point is not the first again.

    Example:
        >>> contours(np.array([[True]]))[0].tolist()
        [[0.0, -0.5], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]]
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
    """Without the points in the middle of straight parts."""
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > _STRAIGHT
    return line[turns]


def _with_keyholes(lines: list[Float[np.ndarray, "n 2"]]) -> Float[np.ndarray, "m 2"]:
    """The outer line with each hole joined where it is nearest to what is joined already."""
    joined, *holes = lines
    for hole in holes:
        distances, nearest = cKDTree(joined).query(hole)
        there = int(distances.argmin())
        here = int(nearest[there])
        around = np.roll(hole, -there, axis=0)
        joined = np.concatenate([joined[: here + 1], around, around[:1], joined[here:]])
    return joined
