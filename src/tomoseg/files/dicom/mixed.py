"""Whether slices one behind the other are those of several scans in turn, by what they show and where they lie.

Headers may say nothing of it (emptied, or written by a converter). Then every second slice, or every third or
fourth, is one of another scan, and

- slices two apart are more alike than neighbours are, which is so in no scan; or
- what a slice shows beside the mean of its neighbours comes back in turn, slice after slice: enhancement, another
  position of the body, edges of another kernel; or
- noise is strong and weak in turn; or
- gaps are wide and narrow in turn.

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
"""Fewer show no pattern."""

IN_TURN = 0.1
"""Correlation of what comes back in turn, above that of what does not."""

LESS_ALIKE, LEAST_HU = 0.8, 5.0
"""Slices two apart differ less than this share of what neighbours do, which differ by so much on the mean."""

OFTEN, MOSTLY = 0.95, 0.75
"""Of the slices, or pairs of them."""

LEAST_BODY = 0.02
"""Of a slice; next to nothing but air says nothing."""

NOISE_IN_TURN = 0.3
"""Difference of the logarithm of noise: by a third and more."""

_BLOCKS, _FEWEST_BLOCKS, _CROP, _BODY_HU = 64, 400, 192, -500
_NOT_SHARED = 3
"""Slices so far apart have no neighbour in common."""


def period_of(hu: Int16[np.ndarray, "n r c"], along_mm: Float[np.ndarray, "n"]) -> int:
    """How many scans slices are of in turn: 1 for those of one scan.

    Args:
        hu: Slices in the order of their places.
        along_mm: Where they lie along the normal, each beyond the one before.
    """
    if len(hu) < FEWEST_SLICES:
        return 1
    blocks = blocks_of(hu)
    if _alike_two_apart(blocks) or _noise_in_turn(hu):
        return 2
    return _in_turn(blocks, along_mm)


def gaps_in_turn(along_mm: Float[np.ndarray, "n"]) -> bool:
    """Whether gaps between sorted places are wide and narrow in turn, as of one scan between another's slices."""
    gaps = np.diff(along_mm)
    if len(gaps) < FEWEST_GAPS:
        return False
    one, other = gaps[::2], gaps[1::2]
    tolerance = EVEN_VOXELS * float(gaps.mean())
    return bool(
        np.ptp(one) <= tolerance and np.ptp(other) <= tolerance and abs(one.mean() - other.mean()) > 4 * tolerance
    )


def are_pairs(images: Sequence[ImageHeader], along_mm: Float[np.ndarray, "n"]) -> bool:
    """Whether slices near to one another were made in one turn of the tube, and others in others, as their times say.

    Args:
        images: In the order of their places.
        along_mm: Where they lie, with gaps that are wide and narrow in turn.
    """
    made = [(image.traits.marks[ACQUISITION], image.traits.times) for image in images]
    together = np.array([one == other for one, other in pairwise(made)])
    narrow = np.diff(along_mm) < np.diff(along_mm).mean()
    return bool(np.array_equal(together, narrow))


def blocks_of(hu: Int16[np.ndarray, "n r c"]) -> Float32[np.ndarray, "n i j"]:
    """Means of blocks, which hardly have noise; some of the pixels of large slices suffice."""
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
    """Whether noise, by the second differences of tissue, is strong and weak in turn."""
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
    """The shortest period in which what is new in a slice comes back."""
    found = (
        period
        for period, alike, above in returns_of(blocks, along_mm)
        if alike >= IN_TURN and np.sort(above)[int((1 - MOSTLY) * len(above))] >= 2 * IN_TURN
    )
    return next(found, 1)


def returns_of(
    blocks: Float32[np.ndarray, "n i j"], along_mm: Float[np.ndarray, "n"]
) -> Iterator[tuple[int, float, Float32[np.ndarray, "_"]]]:
    """How far what is new in a slice comes back after two periods, of each period; of none where there is no body.

    Args:
        blocks: From `blocks_of`.
        along_mm: As for `period_of`.

    Yields:
        The period, the median correlation of pairs of slices that far apart, and by how much each pair's is above
        that of slices that would be of different scans.
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
    """How slices so many apart correlate, pair by pair."""
    length = np.sqrt((new**2).mean(axis=(1, 2))) + np.float32(1e-6)
    lags = range(min(len(new), 2 * LONGEST_PERIOD + 2))
    return [
        (new[lag:] * new[: len(new) - lag]).mean(axis=(1, 2)) / length[lag:] / length[: len(new) - lag] for lag in lags
    ]
