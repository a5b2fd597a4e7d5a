"""How hard each axial slice is to learn from: what a curriculum goes by.

A slice's difficulty is the mean, over the annotated structures in it, of the share of a structure's pixels that lie on
its rim:

    difficulty = mean over structures of (rim pixels / pixels), and 1 where there is no structure

A pixel is on the rim when one of its four neighbours in the slice is outside of the structure; beyond the picture is
outside. Rim pixels are those that a network doubts, and their share is high where a structure is small, thin or in many
pieces (1 for single pixels), and low where it fills a large area (about 2 / r for a disk of r pixels). It counts pixels
of the network's grid, since these are what is learned.

Each structure counts alike, so a small one beside a large one makes a slice harder. How rare a structure is over the
dataset is left out: one case does not know it, and rare structures have a setting of their own
(`sampling.rare_power`). A slice without any annotated structure is as hard as can be (1): of where structures are
there is nothing to learn from it, so it comes last.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64

from tomoseg.masks import BoxedMask

OF_NOTHING = 1.0
"""Difficulty of a slice without any annotated structure."""

DECIMALS = 3
"""Digits that are kept; finer ones would only make records longer."""


def rim_shares(mask: BoxedMask) -> Float64[np.ndarray, "z"]:
    """Share of a structure's pixels in each slice that lie on its rim; 0 where a slice has none.

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
    """Difficulty of each slice, 0 to 1.

    Args:
        shares: `rim_shares` of each annotated structure.
        slices: Slices of the case.

    Example:
        >>> slice_difficulties([np.array([0.2, 0.0, 0.5]), np.array([0.0, 0.0, 1.0])], 3)
        (0.2, 1.0, 0.75)
    """
    total, structures = np.zeros(slices), np.zeros(slices)
    for share in shares:
        total += share
        structures += share > 0  # whatever has a pixel has a rim
    mean = np.where(structures > 0, total / np.maximum(structures, 1), OF_NOTHING)
    return tuple(mean.round(DECIMALS).tolist())
