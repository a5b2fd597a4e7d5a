"""Difficulty of each slice for training, the order of a curriculum.

A slice's difficulty is the mean, over the annotated structures in it, of the fraction of a structure's pixels on its
rim:

    difficulty = mean over structures of (rim pixels / pixels), and 1 where there is no structure

    A pixel of the network's grid is on the rim if one of its four neighbours in the slice is outside the structure or
    the image. Networks are least certain there. The fraction is high if a structure is small, thin or in many pieces (1
    for single pixels), and low if it fills a large area (about 2 / r for a disk of radius r pixels).

    Structures count equally, so a small one beside a large one makes a slice harder. The rarity of a structure in the
    dataset is left out: a single case does not show it, and `sampling.rare_power` is for it. A slice without annotated
    structures has the highest difficulty (1): it shows no structure's place, so it comes last.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64

from tomoseg.masks import BoxedMask

OF_NOTHING = 1.0
"""Difficulty of a slice without any annotated structure."""

DECIMALS = 3
"""Digits that are stored, to keep records short."""


def rim_shares(mask: BoxedMask) -> Float64[np.ndarray, "z"]:
    """Return the fraction of a structure's pixels in each slice that lie on its rim; 0 in slices without it.

    Example:
        >>> square = np.ones((4, 4, 1), bool)
        >>> rim_shares(BoxedMask.of(square)).tolist()  # all but the four in the middle
        [0.75]
    """
    shares = np.zeros(mask.shape[2])
    inside = mask.inside
    around = np.pad(inside, ((1, 1), (1, 1), (0, 0)))
    core = inside & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    rim, pixels = ((inside & ~core).sum(axis=(0, 1)), inside.sum(axis=(0, 1)))
    shares[mask.box[2]] = rim / np.maximum(pixels, 1)
    return shares


def slice_difficulties(shares: Iterable[Float64[np.ndarray, "z"]], slices: int) -> tuple[float, ...]:
    """Return the difficulty of each slice, 0 to 1.

    Args:
        shares: `rim_shares` of each annotated structure.
        slices: Number of slices of the case.

    Example:
        >>> slice_difficulties([np.array([0.2, 0.0, 0.5]), np.array([0.0, 0.0, 1.0])], 3)
        (0.2, 1.0, 0.75)
    """
    total, structures = np.zeros(slices), np.zeros(slices)
    for share in shares:
        total += share
        structures += share > 0  # any structure in a slice has a rim
    mean = np.where(structures > 0, total / np.maximum(structures, 1), OF_NOTHING)
    return tuple(mean.round(DECIMALS).tolist())
