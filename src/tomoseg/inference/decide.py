"""Decisions on the scan's grid from logits on the network's grid.

Logits are interpolated before they are decided, so edges are as smooth as the scan's voxels allow. `reduction.py`
interpolates only where corners disagree, and no array of size structures x volume is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property

import numpy as np
from jaxtyping import Float32, Int16, UInt8, UInt16

from tomoseg.grid import Placement, positions
from tomoseg.inference.reduction import (
    Cells,
    Corners,
    cells_along,
    fill_highest_probability,
    fill_labels,
    fill_masks,
    fill_probabilities,
    fill_scaled_shares,
    fill_shares,
    winners,
)
from tomoseg.inference.threads import in_rows
from tomoseg.labels import label_type
from tomoseg.masks import packed_bytes


class GridSlice:
    """Logits of one slice of the network's grid; decisions at its points are cached.

    Args:
        logits: `(c, gx, gy)`; a slice of a channels-last batch is read without a copy.
    """

    def __init__(self, logits: Float32[np.ndarray, "c gx gy"]) -> None:
        self.logits = logits

    @cached_property
    def values(self) -> Float32[np.ndarray, "gx gy c"]:
        """The logits, structures last."""
        return np.ascontiguousarray(np.moveaxis(self.logits, 0, 2))

    @cached_property
    def winners(self) -> Int16[np.ndarray, "gx gy"]:
        """Channel of the highest logit plus one at each point, or 0 where none is above 0."""
        out = np.empty(self.values.shape[:2], np.int16)
        in_rows(lambda begin, end: winners(self.values[begin:end], out[begin:end]), len(out))
        return out

    @cached_property
    def signs(self) -> UInt8[np.ndarray, "gx gy b"]:
        """Packed masks of the logits above 0."""
        return np.packbits(self.values > 0, axis=2, bitorder="little")


SlicePair = tuple[GridSlice, GridSlice, float]
"""The grid slices below and above a slice of the scan, and the weight of the upper one; the same slice twice where
the weight is 0."""


def scan_slices(logits: Iterable[Float32[np.ndarray, "c gx gy"]], placement: Placement) -> Iterator[SlicePair]:
    """Yield, for each slice of the scan in the grid's box, the grid slices that it lies between, in order.

    At most two grid slices are held.

    Args:
        logits: Logits of the grid's slices from inferior to superior.
        placement: Position of the grid in the scan.
    """
    source = enumerate(logits)
    held: dict[int, GridSlice] = {}
    along = positions(placement.shape[2], placement.extent[2], nearest=placement.nearest[2])
    for low, high, share in zip(*along, strict=True):
        high = high if share > 0 else low  # the grid slice above is not needed yet
        while int(high) not in held:
            number, slice_logits = next(source)
            held = {k: v for k, v in held.items() if k >= low} | {number: GridSlice(slice_logits)}
        yield held[int(low)], held[int(high)], float(share)


Axes = tuple[bool, bool]
"""Whether pixels take the nearest grid point's value along x, and along y."""

BETWEEN: Axes = (False, False)
"""Linear interpolation along both axes."""


def decide_masks(between: SlicePair, size: tuple[int, int], nearest: Axes = BETWEEN) -> UInt8[np.ndarray, "b x y"]:
    """Decide packed masks of one slice of the scan: each structure where its interpolated logit is above 0.

    Args:
        between: The grid slices that it lies between.
        size: Pixels of the scan's slice in the box, along x and y.
        nearest: Axes along which pixels take the nearest grid point's value.
    """
    low, high, share = between
    if _is_on_grid(between, size):
        return np.moveaxis(low.signs, 2, 0)
    out = np.empty((packed_bytes(low.logits.shape[0]), *size), np.uint8)
    cells = _cells(low, size, nearest)
    corners = Corners(low.values, high.values, np.float32(share), low.signs, high.signs)
    in_rows(lambda *rows: fill_masks(corners, cells, rows, out), len(low.signs))
    return out


def decide_labels(
    between: SlicePair, size: tuple[int, int], ids: Sequence[int], nearest: Axes = BETWEEN
) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
    """Decide the label map of one slice: the structure of the highest interpolated logit, where that is above 0.

    Ties go to the lower channel.

    Args:
        between: The grid slices that it lies between.
        size: Pixels of the scan's slice in the box, along x and y.
        ids: Label map value of each channel.
        nearest: Axes along which pixels take the nearest grid point's value.
    """
    low, high, share = between
    values = np.array([0, *ids], label_type(ids))
    if _is_on_grid(between, size):
        return values[low.winners]
    out, cells = np.empty(size, values.dtype), _cells(low, size, nearest)
    corners = Corners(low.values, high.values, np.float32(share), low.winners, high.winners)
    in_rows(lambda *rows: fill_labels(corners, cells, rows, values, out), len(low.winners))
    return out


def confidences(
    between: SlicePair,
    size: tuple[int, int],
    offsets: Float32[np.ndarray, "c"],
    nearest: Axes = BETWEEN,
    scales: Float32[np.ndarray, "c 2"] | None = None,
) -> UInt8[np.ndarray, "c x y"]:
    """Compute the probability of each structure in one slice of the scan, 0 to 1 as 0 to 255.

    Args:
        between: The grid slices that it lies between.
        size: Pixels of the scan's slice in the box, along x and y.
        offsets: Subtracted from the logits before, for thresholds other than 0.5.
        nearest: Axes along which pixels take the nearest grid point's value.
        scales: Factors of the logits above and below 0; if omitted, 1.
    """
    scales = np.ones((len(offsets), 2), np.float32) if scales is None else scales
    low, high, share = between
    out, cells = np.zeros((len(offsets), *size), np.uint8), _cells(low, size, nearest)
    corners = Corners(low.values, high.values, np.float32(share), low.signs, high.signs)
    in_rows(lambda *rows: fill_probabilities(corners, cells, rows, offsets, scales, out), len(low.values))
    return out


def highest_confidence(
    between: SlicePair,
    size: tuple[int, int],
    offsets: Float32[np.ndarray, "c"],
    nearest: Axes = BETWEEN,
    scales: Float32[np.ndarray, "c 2"] | None = None,
) -> UInt8[np.ndarray, "1 x y"]:
    """Compute the probability of the structure with the highest logit at each pixel; arguments as for `confidences`."""
    scales = np.ones((len(offsets), 2), np.float32) if scales is None else scales
    low, high, share = between
    out, cells = np.empty((1, *size), np.uint8), _cells(low, size, nearest)
    corners = Corners(low.values, high.values, np.float32(share), low.signs, high.signs)
    in_rows(lambda *rows: fill_highest_probability(corners, cells, rows, offsets, scales, out), len(low.values))
    return out


def shares_of_all(
    between: SlicePair,
    size: tuple[int, int],
    channels: Sequence[int],
    nearest: Axes = BETWEEN,
    scales: Float32[np.ndarray, "n 2"] | None = None,
) -> UInt8[np.ndarray, "n x y"]:
    """Compute the softmax probability of some structures among all and background (logit 0), 0 to 1 as 0 to 255.

    Args:
        between: The grid slices that it lies between.
        size: Pixels of the scan's slice in the box, along x and y.
        channels: Channels of the requested structures.
        nearest: Axes along which pixels take the nearest grid point's value.
        scales: Factors of the logit of each against all others, above and below 0; if omitted, 1.
    """
    low, high, share = between
    out, cells = np.zeros((len(channels), *size), np.uint8), _cells(low, size, nearest)
    corners = Corners(low.values, high.values, np.float32(share), low.winners, high.winners)
    wanted = np.array(channels, np.int64)
    if scales is None:
        in_rows(lambda *rows: fill_shares(corners, cells, rows, wanted, out), len(low.values))
    else:
        in_rows(lambda *rows: fill_scaled_shares(corners, cells, rows, wanted, scales, out), len(low.values))
    return out


@cache
def load_kernels() -> None:
    """Load the compiled kernels, so that their memory is taken before the rest is budgeted."""
    slices = (GridSlice(np.zeros((1, 2, 2), np.float32)), GridSlice(np.ones((1, 2, 2), np.float32)), 0.5)
    decide_masks(slices, (3, 3))
    decide_labels(slices, (3, 3), (1,))


def _is_on_grid(between: SlicePair, size: tuple[int, int]) -> bool:
    return between[2] == 0 and between[0].logits.shape[1:] == size


def _cells(grid_slice: GridSlice, size: tuple[int, int], nearest: Axes) -> Cells:
    gx, gy = grid_slice.logits.shape[1:]
    x, y = cells_along(gx, size[0], nearest=nearest[0]), cells_along(gy, size[1], nearest=nearest[1])
    return Cells(*x, *y)
