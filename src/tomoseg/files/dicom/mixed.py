"""Detection of several scans whose slices alternate in one stack, by their pixels and positions.

Headers may not show it (emptied, or written by a converter). Every second slice, or every third or fourth, then belongs
to another scan, and

- slices two apart are more similar than neighbours, which is so in no single scan; or
- the difference of a slice from the mean of its neighbours recurs periodically: enhancement, another position of the
  body, edges of another kernel; or
- noise is alternately strong and weak; or
- gaps are alternately wide and narrow.

Measured on 203 scans of OpenKBP and six others: none is taken for several. Of as many
mixtures of each scan with itself 121 are found where it was moved by 2 and 1 pixels, 113 where it was smoothed, 26
where noise was added, 80 of three scans moved by 3 pixels, 1 where what lies from 80 to 300 HU was enhanced by 60: not
all are seen. The second measure is known for 136 of the scans: in the others, cut to air, less than 0.02 of the median
slice is body. It is 0.01 at the most in one scan, 0.60 at the median in moved and 0.41 in smoothed ones, where 0.2 is
asked for. The command is `benchmarks/mixed.py OPENKBP DICOM_FOLDER SCAN.nii.gz ...`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32, Int16

from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.traits import ACQUISITION
from tomoseg.files.stack import EVEN_VOXELS

LONGEST_PERIOD = 4

FEWEST_SLICES, FEWEST_GAPS = 6, 6
"""Minimum numbers of slices and of gaps that show a pattern."""

IN_TURN = 0.1
"""Minimum correlation of differences that recur, and half of its minimum excess over that of others."""

LESS_ALIKE, LEAST_HU = 0.8, 5.0
"""Maximum ratio of the difference of slices two apart to that of neighbours, and the minimum of the latter in HU."""

OFTEN, MOSTLY = 0.95, 0.75
"""Minimum shares of slices, or of pairs of them, that must show a pattern."""

LEAST_BODY = 0.02
"""Minimum share of a slice that is body; less shows nothing."""

NOISE_IN_TURN = 0.3
"""Minimum difference of the logarithm of alternating noise, about a third."""

_BLOCKS, _FEWEST_BLOCKS, _CROP, _BODY_HU = 64, 400, 192, -500
_NOT_SHARED = 3
"""Distance in slices from which two have no neighbour in common."""


def period_of(hu: Int16[np.ndarray, "n r c"], along_mm: Float[np.ndarray, "n"]) -> int:
    """Return the number of scans whose slices alternate; 1 for a single scan.

    Args:
        hu: `(slices, rows, columns)` HU, in the order of their positions.
        along_mm: `(slices,)`, positions along the normal in mm, ascending.
    """
    if len(hu) < FEWEST_SLICES:
        return 1
    blocks = blocks_of(hu)
    if _alike_two_apart(blocks) or _noise_in_turn(hu):
        return 2
    return _in_turn(blocks, along_mm)


def gaps_in_turn(along_mm: Float[np.ndarray, "n"]) -> bool:
    """Whether gaps between sorted positions are alternately wide and narrow, as if a second scan were interleaved."""
    gaps = np.diff(along_mm)
    if len(gaps) < FEWEST_GAPS:
        return False
    one, other = gaps[::2], gaps[1::2]
    tolerance = EVEN_VOXELS * float(gaps.mean())
    return bool(
        np.ptp(one) <= tolerance and np.ptp(other) <= tolerance and abs(one.mean() - other.mean()) > 4 * tolerance
    )


def are_pairs(images: Sequence[ImageHeader], along_mm: Float[np.ndarray, "n"]) -> bool:
    """Whether exactly the slices with narrow gaps have the same acquisition and time, as pairs from one rotation do.

    Args:
        images: Headers in the order of their positions.
        along_mm: `(slices,)`, positions in mm, with alternately wide and narrow gaps.
    """
    made = [(image.traits.marks[ACQUISITION], image.traits.times) for image in images]
    together = np.array([one == other for one, other in pairwise(made)])
    narrow = np.diff(along_mm) < np.diff(along_mm).mean()
    return bool(np.array_equal(together, narrow))


def blocks_of(hu: Int16[np.ndarray, "n r c"]) -> Float32[np.ndarray, "n i j"]:
    """Return the means of blocks of pixels, which have little noise; large slices are subsampled."""
    step = max(1, min(hu.shape[1:]) // (4 * _BLOCKS))
    side = max(1, min(hu.shape[1:]) // (_BLOCKS * step))
    rows, columns = (length // (step * side) for length in hu.shape[1:])
    means = np.empty((len(hu), rows, columns), np.float32)
    for number, plane in enumerate(hu):
        part = np.clip(plane[::step, ::step][: rows * side, : columns * side].astype(np.float32), -1000, 1000)
        means[number] = part.reshape(rows, side, columns, side).mean(axis=(1, 3))
    return means


def _alike_two_apart(blocks: Float32[np.ndarray, "n i j"]) -> bool:
    near, far = (np.abs(blocks[step:] - blocks[:-step]).mean(axis=(1, 2)) for step in (1, 2))
    if float(np.median(near)) < LEAST_HU or float(np.median(far)) > LESS_ALIKE * float(np.median(near)):
        return False
    return bool(np.mean(far < np.minimum(near[:-1], near[1:])) >= OFTEN)


def _noise_in_turn(hu: Int16[np.ndarray, "n r c"]) -> bool:
    """Whether noise, measured by second differences in tissue, is alternately strong and weak."""
    if min(hu.shape[1:]) < _CROP // 4:
        return False
    levels = []
    for plane in hu:
        top, left = ((length - min(length, _CROP)) // 2 for length in plane.shape)
        part = np.clip(plane[top : top + _CROP, left : left + _CROP].astype(np.float32), -1000, 1000)
        inner = part[1:-1, 1:-1]
        rough = np.abs(4 * inner - part[:-2, 1:-1] - part[2:, 1:-1] - part[1:-1, :-2] - part[1:-1, 2:])
        tissue = rough[inner > _BODY_HU]
        if len(tissue) < _FEWEST_BLOCKS:
            return False
        levels.append(np.log1p(float(np.median(tissue))))
    level = np.array(levels)
    turned = (level[1:-1] - (level[:-2] + level[2:]) / 2) * (-1.0) ** np.arange(len(level) - 2)
    if abs(turned.mean()) < NOISE_IN_TURN:
        return False
    return bool(np.mean(turned * np.sign(turned.mean()) > 0) >= OFTEN)


def _in_turn(blocks: Float32[np.ndarray, "n i j"], along_mm: Float[np.ndarray, "n"]) -> int:
    """Return the shortest period with which differences of slices from their neighbours recur; 1 without one."""
    found = (
        period
        for period, alike, above in returns_of(blocks, along_mm)
        if alike >= IN_TURN and np.sort(above)[int((1 - MOSTLY) * len(above))] >= 2 * IN_TURN
    )
    return next(found, 1)


def returns_of(
    blocks: Float32[np.ndarray, "n i j"], along_mm: Float[np.ndarray, "n"]
) -> Iterator[tuple[int, float, Float32[np.ndarray, "_"]]]:
    """Measure for each period how far differences of slices from their neighbours recur after two periods.

    Args:
        blocks: `(slices, i, j)`, from `blocks_of`.
        along_mm: `(slices,)`, as for `period_of`.

    Yields:
        The period, the median correlation of slices two periods apart, and its excess for each pair over that of
        slices that would belong to different scans. Nothing if there is too little body.
    """
    inside = blocks[1:-1] > _BODY_HU
    if blocks[0].size < _FEWEST_BLOCKS or float(np.median(inside.mean(axis=(1, 2)))) < LEAST_BODY:
        return
    share = ((along_mm[1:-1] - along_mm[:-2]) / (along_mm[2:] - along_mm[:-2])).astype(np.float32)[:, None, None]
    new = blocks[1:-1] - (1 - share) * blocks[:-2] - share * blocks[2:]
    alike = _alike_at(np.where(inside, np.clip(new, -150, 150), 0))
    for period in range(2, LONGEST_PERIOD + 1):
        back = 2 * period
        others = [np.median(alike[lag]) for lag in range(_NOT_SHARED, min(back + 2, len(alike))) if lag % period]
        if back < len(alike) and others:
            yield period, float(np.median(alike[back])), alike[back] - float(np.mean(others))


def _alike_at(new: Float32[np.ndarray, "n i j"]) -> list[Float32[np.ndarray, "_"]]:
    """Return for each distance in slices the correlation of every pair."""
    length = np.sqrt((new**2).mean(axis=(1, 2))) + np.float32(1e-6)
    lags = range(min(len(new), 2 * LONGEST_PERIOD + 2))
    return [
        (new[lag:] * new[: len(new) - lag]).mean(axis=(1, 2)) / length[lag:] / length[: len(new) - lag] for lag in lags
    ]
