"""Compiled kernels that interpolate logits to the scan's grid and decide them there.

Linear interpolation is convex. Where all corners of a cell of the network's grid have the same winning structure, so
does every point inside; where a logit is above 0 at all corners, or at none, so it is inside. So decisions that agree
are copied, and logits are interpolated only in cells whose corners differ, and only of structures that can win. Values
inside are weighted sums of the corners, since rounding keeps the order of sums and products (`a + t * (b - a)` may
step outside).

Kernels release the GIL; `decide.py` runs them on its own threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, Int64, UInt8

from tomoseg.grid import positions
from tomoseg.kernels import kernel


class Corners(NamedTuple):
    """The two grid slices that a slice of the scan lies between.

    Attributes:
        low: `(gx, gy, c)` logits of the grid's slice below.
        high: Logits of the slice above; the same array where `share` is 0.
        share: Weight of the slice above.
        low_found: Decisions at the points of the slice below: `winners`, or packed bits `(gx, gy, b)`.
        high_found: Decisions at the points of the slice above.
    """

    low: Float32[np.ndarray, "gx gy c"]
    high: Float32[np.ndarray, "gx gy c"]
    share: np.float32
    low_found: Int16[np.ndarray, "gx gy"] | UInt8[np.ndarray, "gx gy b"]
    high_found: Int16[np.ndarray, "gx gy"] | UInt8[np.ndarray, "gx gy b"]


class Cells(NamedTuple):
    """A slice of the scan, divided into the cells between the points of the network's grid; see `cells_along`.

    Attributes:
        x_first: First pixel of each cell along x.
        x_share: Weights of the upper points along x.
        y_first: First pixel of each cell along y.
        y_share: Weights of the upper points along y.
    """

    x_first: Int64[np.ndarray, "_"]
    x_share: Float32[np.ndarray, "x"]
    y_first: Int64[np.ndarray, "_"]
    y_share: Float32[np.ndarray, "y"]


def cells_along(
    points: int, length: int, *, nearest: bool = False
) -> tuple[Int64[np.ndarray, "_"], Float32[np.ndarray, "length"]]:
    """Divide an axis of the scan's slice into the cells between the points of the network's grid.

    Args:
        points: Points of the grid along the axis.
        length: Pixels of the slice along the axis.
        nearest: Each pixel takes the nearest point's value: it lies in the cell whose lower point that is.

    Returns:
        `first` `(points + 1,)`, cell `i` holds the pixels from `first[i]` to before `first[i + 1]`; and each pixel's
        weight of its cell's upper point.

    Example:
        >>> cells_along(2, 4)[0].tolist()
        [0, 3, 4]
    """
    lower, _, share = positions(points, length, nearest=nearest)
    return np.searchsorted(lower, np.arange(points + 1)), share


@kernel(fastmath={"nnan", "nsz"})
def winners(logits, out):  # type: ignore[no-untyped-def]
    """Fill, for each point, the channel of the highest logit plus one, or 0 if none is above 0; ties go to the lower.

    Args:
        logits: `(gx, gy, c)` float32, contiguous.
        out: `(gx, gy)` int16.
    """
    for i in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            row = logits[i, j]
            best = np.float32(0)
            for c in range(len(row)):
                best = max(best, row[c])
            out[i, j] = 0
            if best > 0:
                c = 0
                while row[c] != best:
                    c += 1
                out[i, j] = c + 1


@kernel()
def fill_labels(corners, cells, rows, ids, out):  # type: ignore[no-untyped-def]
    """Fill label map values of one slice, in the cells of some rows of the grid.

    Args:
        corners: `Corners` with `winners`.
        cells: `Cells` of the slice.
        rows: First row of cells, and one past the last.
        ids: Label map value of each winner, 0 first.
        out: `(x, y)`, filled where these cells lie.
    """
    gx, gy, channels = corners.low.shape
    least, most = np.empty(channels, np.float32), np.empty(channels, np.float32)
    candidates, values = np.empty(channels, np.int64), np.empty(channels, np.float32)
    around = np.empty((8, channels), np.float32)
    for i in range(rows[0], rows[1]):
        for j in range(gy):
            cell = (i, min(i + 1, gx - 1), j, min(j + 1, gy - 1))
            xs, ys = cells.x_first[i : i + 2], cells.y_first[j : j + 2]
            if xs[0] == xs[1] or ys[0] == ys[1]:
                continue
            if _agree(corners, cell):
                out[xs[0] : xs[1], ys[0] : ys[1]] = ids[corners.low_found[i, j]]
                continue
            _range_of_corners(corners, cell, least, most)
            possible = candidates[: _possible(least, most, candidates)]
            _bring_together(corners, cell, possible, around)
            found = values[: len(possible)]
            for x in range(xs[0], xs[1]):
                for y in range(ys[0], ys[1]):
                    _all_between(around, corners.share, cells.x_share[x], cells.y_share[y], found)
                    out[x, y] = ids[_winner(found, possible)]


@kernel()
def fill_masks(corners, cells, rows, out):  # type: ignore[no-untyped-def]
    """Fill packed masks of one slice, in the cells of some rows of the grid.

    Args:
        corners: `Corners` with packed bits.
        cells: `Cells` of the slice.
        rows: First row of cells, and one past the last.
        out: `(b, x, y)`, filled where these cells lie.
    """
    gx, gy, planes = corners.low_found.shape
    for i in range(rows[0], rows[1]):
        for j in range(gy):
            cell = (i, min(i + 1, gx - 1), j, min(j + 1, gy - 1))
            for plane in range(planes):
                everywhere, somewhere = _bits_of_corners(corners, cell, plane)
                undecided = somewhere & ~everywhere
                for x in range(cells.x_first[i], cells.x_first[i + 1]):
                    for y in range(cells.y_first[j], cells.y_first[j + 1]):
                        byte = everywhere
                        for bit in range(8):
                            if undecided >> bit & 1:
                                value = _inside(corners, cell, 8 * plane + bit, cells.x_share[x], cells.y_share[y])
                                byte |= np.int64(value > 0) << bit
                        out[plane, x, y] = byte


@kernel()
def fill_probabilities(corners, cells, rows, offsets, scales, out):  # type: ignore[no-untyped-def]
    """Fill probabilities of all structures in one slice, in the cells of some rows of the grid.

    Args:
        corners: `Corners`.
        cells: `Cells` of the slice.
        rows: First row of cells, and one past the last.
        offsets: `(c,)` float32, added to each structure's logits.
        scales: `(c, 2)` float32, factors of the results above and below 0.
        out: `(c, x, y)` uint8 of zeros, filled where these cells lie and a probability is not 0.
    """
    gx, gy, channels = corners.low.shape
    values = np.empty(channels, np.float32)
    for i in range(rows[0], rows[1]):
        for j in range(gy):
            cell = (i, min(i + 1, gx - 1), j, min(j + 1, gy - 1))
            for x in range(cells.x_first[i], cells.x_first[i + 1]):
                for y in range(cells.y_first[j], cells.y_first[j + 1]):
                    _all_inside(corners, cell, cells.x_share[x], cells.y_share[y], values)
                    for c in range(channels):
                        value = _scaled(values[c] + offsets[c], scales[c])
                        if value > -7:  # below, it is 0
                            out[c, x, y] = _as_uint8(value)


@kernel()
def fill_highest_probability(corners, cells, rows, offsets, scales, out):  # type: ignore[no-untyped-def]
    """Fill the probability of the structure with the highest logit, as `fill_probabilities`; `out` is `(1, x, y)`."""
    gx, gy, channels = corners.low.shape
    for i in range(rows[0], rows[1]):
        for j in range(gy):
            cell = (i, min(i + 1, gx - 1), j, min(j + 1, gy - 1))
            for x in range(cells.x_first[i], cells.x_first[i + 1]):
                for y in range(cells.y_first[j], cells.y_first[j + 1]):
                    best, highest = np.float32(-np.inf), 0
                    for c in range(channels):
                        value = _inside(corners, cell, c, cells.x_share[x], cells.y_share[y]) + offsets[c]
                        if value > best:
                            best, highest = value, c
                    out[0, x, y] = _as_uint8(_scaled(best, scales[highest]))


@kernel()
def _scaled(logit, scales):  # type: ignore[no-untyped-def]
    """Scale a logit by the factor for its sign."""
    return logit * (scales[0] if logit > 0 else scales[1])


@kernel()
def fill_shares(corners, cells, rows, wanted, out):  # type: ignore[no-untyped-def]
    """Fill softmax probabilities of some structures among all and background (logit 0), in the cells of some rows.

    Args:
        corners: `Corners`.
        cells: `Cells` of the slice.
        rows: First row of cells, and one past the last.
        wanted: `(n,)` int64, channels.
        out: `(n, x, y)` uint8 of zeros, filled where these cells lie and a probability is not 0.
    """
    gx, gy, channels = corners.low.shape
    values = np.empty(channels, np.float32)
    for i in range(rows[0], rows[1]):
        for j in range(gy):
            cell = (i, min(i + 1, gx - 1), j, min(j + 1, gy - 1))
            for x in range(cells.x_first[i], cells.x_first[i + 1]):
                for y in range(cells.y_first[j], cells.y_first[j + 1]):
                    _all_inside(corners, cell, cells.x_share[x], cells.y_share[y], values)
                    whole = _exponentials(values)
                    least = whole / np.float32(512)  # below, the rounded probability is 0
                    for n in range(len(wanted)):
                        value = values[wanted[n]]
                        if value >= least:
                            out[n, x, y] = np.uint8(np.rint(np.float32(255) * (value / whole)))


@kernel()
def fill_scaled_shares(corners, cells, rows, wanted, scales, out):  # type: ignore[no-untyped-def]
    """Fill probabilities as `fill_shares`, with the logit of each structure against all others scaled.

    Args:
        corners: `Corners`.
        cells: `Cells` of the slice.
        rows: First row of cells, and one past the last.
        wanted: `(n,)` int64, channels.
        scales: `(n, 2)` float32, factors of these logits above and below 0.
        out: `(n, x, y)` uint8 of zeros, filled where these cells lie and a probability is not 0.
    """
    gx, gy, channels = corners.low.shape
    values, parts = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for i in range(rows[0], rows[1]):
        for j in range(gy):
            cell = (i, min(i + 1, gx - 1), j, min(j + 1, gy - 1))
            for x in range(cells.x_first[i], cells.x_first[i + 1]):
                for y in range(cells.y_first[j], cells.y_first[j + 1]):
                    _all_inside(corners, cell, cells.x_share[x], cells.y_share[y], values)
                    parts[:] = values
                    whole = _exponentials(parts)
                    highest = np.float32(0)
                    for c in range(channels):
                        highest = max(highest, values[c])
                    for n in range(len(wanted)):
                        others = max(whole - parts[wanted[n]], np.float32(1e-30))
                        value = _scaled(values[wanted[n]] - highest - np.log(others), scales[n])
                        if value > -7:  # below, it is 0
                            out[n, x, y] = _as_uint8(value)


@kernel()
def _exponentials(values):  # type: ignore[no-untyped-def]
    """Replace each logit by its exponential relative to the highest or 0, and return their sum with background's."""
    highest = np.float32(0)
    for c in range(len(values)):
        highest = max(highest, values[c])
    whole = np.exp(-highest)
    for c in range(len(values)):
        below = values[c] - highest
        values[c] = np.exp(below) if below > -32 else np.float32(0)  # too small to change the sum
        whole += values[c]
    return whole


@kernel()
def _as_uint8(logit):  # type: ignore[no-untyped-def]
    """Return the probability of a logit, 0 to 1 as 0 to 255."""
    one = np.float32(1)
    return np.uint8(np.rint(np.float32(255) * (one / (one + np.exp(-logit)))))


@kernel()
def _agree(corners, cell):  # type: ignore[no-untyped-def]
    """Return True if all corners of a cell have the same winner."""
    i, above, j, right = cell
    low, high = corners.low_found, corners.high_found
    win = low[i, j]
    agree = low[above, j] == win and low[i, right] == win and low[above, right] == win
    if agree and corners.share > 0:
        agree = high[i, j] == win and high[above, j] == win and high[i, right] == win and high[above, right] == win
    return agree


@kernel()
def _bits_of_corners(corners, cell, plane):  # type: ignore[no-untyped-def]
    """Return the bits of a byte plane that are set at all corners of a cell, and those set at any."""
    i, above, j, right = cell
    everywhere, somewhere = np.int64(255), np.int64(0)
    for x in (i, above):
        for y in (j, right):
            here = np.int64(corners.low_found[x, y, plane])
            everywhere, somewhere = everywhere & here, somewhere | here
            if corners.share > 0:
                here = np.int64(corners.high_found[x, y, plane])
                everywhere, somewhere = everywhere & here, somewhere | here
    return everywhere, somewhere


@kernel(fastmath={"nnan", "nsz"})
def _range_of_corners(corners, cell, least, most):  # type: ignore[no-untyped-def]
    """Find each logit's lowest and highest value over the corners of a cell."""
    i, above, j, right = cell
    a, b, c, d = corners.low[i, j], corners.low[above, j], corners.low[i, right], corners.low[above, right]
    for n in range(len(least)):
        least[n] = min(min(a[n], b[n]), min(c[n], d[n]))
        most[n] = max(max(a[n], b[n]), max(c[n], d[n]))
    if corners.share > 0:
        a, b, c, d = corners.high[i, j], corners.high[above, j], corners.high[i, right], corners.high[above, right]
        for n in range(len(least)):
            least[n] = min(least[n], min(min(a[n], b[n]), min(c[n], d[n])))
            most[n] = max(most[n], max(max(a[n], b[n]), max(c[n], d[n])))


@kernel()
def _possible(least, most, candidates):  # type: ignore[no-untyped-def]
    """Collect the channels that can win in a cell, those not always below another or 0, and return their number."""
    floor = np.float32(0)
    for c in range(len(least)):
        floor = max(floor, least[c])
    count = 0
    for c in range(len(most)):
        if most[c] > 0 and most[c] >= floor:
            candidates[count] = c
            count += 1
    return count


@kernel()
def _bring_together(corners, cell, possible, out):  # type: ignore[no-untyped-def]
    """Gather the logits of some channels at the corners of a cell; the four of the slice below come first."""
    i, above, j, right = cell
    low, high = corners.low, corners.high
    for n in range(len(possible)):
        c = possible[n]
        out[0, n], out[1, n], out[2, n], out[3, n] = (
            low[i, j, c],
            low[above, j, c],
            low[i, right, c],
            low[above, right, c],
        )
    if corners.share > 0:
        for n in range(len(possible)):
            c = possible[n]
            out[4, n], out[5, n] = high[i, j, c], high[above, j, c]
            out[6, n], out[7, n] = high[i, right, c], high[above, right, c]


@kernel()
def _all_between(around, share, x_share, y_share, out):  # type: ignore[no-untyped-def]
    """Interpolate the logits of `_bring_together`; bit for bit as `_inside`."""
    one = np.float32(1)
    w00, w10 = (one - x_share) * (one - y_share), x_share * (one - y_share)
    w01, w11 = (one - x_share) * y_share, x_share * y_share
    a, b, c, d = around[0], around[1], around[2], around[3]
    if share > 0:
        e, f, g, h = around[4], around[5], around[6], around[7]
        for n in range(len(out)):
            lower = w00 * a[n] + w10 * b[n] + w01 * c[n] + w11 * d[n]
            upper = w00 * e[n] + w10 * f[n] + w01 * g[n] + w11 * h[n]
            out[n] = (one - share) * lower + share * upper
    else:
        for n in range(len(out)):
            out[n] = w00 * a[n] + w10 * b[n] + w01 * c[n] + w11 * d[n]


@kernel(fastmath={"nnan", "nsz"})
def _winner(values, channels):  # type: ignore[no-untyped-def]
    """Return the channel of the highest logit plus one, or 0 if none is above 0; ties go to the lower."""
    best = np.float32(0)
    for n in range(len(values)):
        best = max(best, values[n])
    if best > 0:
        for n in range(len(values)):
            if values[n] == best:
                return channels[n] + 1
    return 0


@kernel()
def _all_inside(corners, cell, x_share, y_share, out):  # type: ignore[no-untyped-def]
    """Interpolate all logits between the corners of a cell, as `_inside`."""
    i, above, j, right = cell
    one, low, high, share = np.float32(1), corners.low, corners.high, corners.share
    w00, w10 = (one - x_share) * (one - y_share), x_share * (one - y_share)
    w01, w11 = (one - x_share) * y_share, x_share * y_share
    a, b, c, d = low[i, j], low[above, j], low[i, right], low[above, right]
    for n in range(len(out)):
        out[n] = w00 * a[n] + w10 * b[n] + w01 * c[n] + w11 * d[n]
    if share > 0:
        a, b, c, d = high[i, j], high[above, j], high[i, right], high[above, right]
        for n in range(len(out)):
            upper = w00 * a[n] + w10 * b[n] + w01 * c[n] + w11 * d[n]
            out[n] = (one - share) * out[n] + share * upper


@kernel()
def _inside(corners, cell, c, x_share, y_share):  # type: ignore[no-untyped-def]
    """Interpolate one logit between the corners of a cell."""
    i, above, j, right = cell
    one, low, high = np.float32(1), corners.low, corners.high
    w00, w10 = (one - x_share) * (one - y_share), x_share * (one - y_share)
    w01, w11 = (one - x_share) * y_share, x_share * y_share
    value = w00 * low[i, j, c] + w10 * low[above, j, c] + w01 * low[i, right, c] + w11 * low[above, right, c]
    if corners.share > 0:
        upper = w00 * high[i, j, c] + w10 * high[above, j, c] + w01 * high[i, right, c] + w11 * high[above, right, c]
        value = (one - corners.share) * value + corners.share * upper
    return value
