"""Augmentation of coronal and sagittal slices by short stacks, as in scans of few axial slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from tomoseg.config import TrainConfig
from tomoseg.masks import structure_mask

HEIGHT_MM = (40.0, 160.0)
"""Range of the stacks' height."""


@dataclass(frozen=True)
class Stacks:
    """Shortening of coronal or sagittal slices; axial slices lie along their second axis.

    Attributes:
        share: Fraction of slices that are shortened.
    """

    share: float

    def kept(
        self, packed: UInt8[np.ndarray, "b a z"], edge_mm: float, key: tuple[int, int, int], structure: int | None
    ) -> slice:
        """Draw the part of a slice's height to keep; it contains some of the structure that the slice was drawn for.

        Args:
            packed: Packed masks of the slice.
            edge_mm: Height of a pixel.
            key: Key of the slice.
            structure: Channel of the structure; None if it was drawn uniformly.
        """
        rng = np.random.default_rng((*key, 6))
        height = packed.shape[2]
        voxels = max(1, round(rng.uniform(*HEIGHT_MM) / edge_mm))
        if rng.random() >= self.share or voxels >= height:
            return slice(0, height)
        lowest, highest = 0, height - voxels
        if structure is not None:
            there = np.flatnonzero(structure_mask(packed, structure).any(axis=0))
            held = int(there[rng.integers(len(there))])
            lowest, highest = max(0, held - voxels + 1), min(held, highest)
        first = int(rng.integers(lowest, highest + 1))
        return slice(first, first + voxels)


def stacks_of(view: str, config: TrainConfig) -> Stacks | None:
    """Return the shortening of a training; None if nothing is shortened.

    Args:
        view: The view of the network.
        config: `augmentation.short_stacks`.
    """
    share = config.augmentation.short_stacks
    is_on = config.augmentation.enabled and share > 0 and view != "axial" and config.network.dims == 2
    return Stacks(share) if is_on else None
