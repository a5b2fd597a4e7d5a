"""Which slices an epoch is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomoseg.config import SamplingConfig
from tomoseg.grid import padded_shape
from tomoseg.preprocessed.format import CaseRecord

PATCH_SHARE = 0.75
"""The patch holds this share of the cases' slices whole; the widest few are cropped rather than everyone padded."""


@dataclass(frozen=True)
class Draw:
    """One training slice.

    Attributes:
        case: Its case's position among the training cases.
        slice: The axial slice on the grid.
        key: Unique to the draw within a run; seeds its crop and augmentation.
    """

    case: int
    slice: int
    key: tuple[int, int, int]


def draw_epoch(records: Sequence[CaseRecord], config: SamplingConfig, seed: int, epoch: int) -> list[Draw]:
    """All draws of an epoch in random order; the same for the same seed and epoch.

    Every case gives `slices_per_case` draws. A draw is either of a slice that holds a structure chosen at random
    among those that occur in the case, or uniform over the case's slices.

    Args:
        records: The training cases.
        config: Draws a case, and the share that goes to structures.
        seed: The run's seed.
        epoch: Which epoch.
    """
    rng = np.random.default_rng((seed, epoch))
    chosen = []
    for case, record in enumerate(records):
        present = [c for c in record.annotated if record.occurrence[c]]
        for _ in range(config.slices_per_case):
            if present and rng.random() < config.structure_share:
                slices = record.slices_of(present[rng.integers(len(present))])
                chosen.append((case, int(slices[rng.integers(len(slices))])))
            else:
                chosen.append((case, int(rng.integers(record.placement.shape[2]))))
    order = rng.permutation(len(chosen))
    return [Draw(*chosen[place], (seed, epoch, number)) for number, place in enumerate(order)]


def patch_size(records: Sequence[CaseRecord], config: SamplingConfig, stride: int) -> tuple[int, int]:
    """Pixels of a training slice: as configured, or what most cases fit into, in multiples of the stride.

    Args:
        records: The training cases.
        config: `patch_size`, or nothing.
        stride: What the network's input must be a multiple of.
    """
    wanted = config.patch_size
    if wanted is None:
        shapes = np.array([record.placement.shape[:2] for record in records])
        wanted = tuple(np.quantile(shapes, PATCH_SHARE, axis=0, method="higher").astype(int).tolist())
    x, y = padded_shape(wanted, stride)
    return (x, y)


def structure_frequencies(records: Sequence[CaseRecord], structures: int) -> list[float]:
    """Share of the voxels that each structure fills, over the cases where it is annotated; 0 where none is."""
    filled, seen = np.zeros(structures), np.zeros(structures)
    for record in records:
        annotated = list(record.annotated)
        seen[annotated] += float(np.prod(record.placement.shape))
        filled[annotated] += [record.voxels[c] for c in annotated]
    return (filled / np.maximum(seen, 1)).tolist()  # type: ignore[no-any-return]
