"""Which slices an epoch is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomoseg.config import SamplingConfig, TrainConfig
from tomoseg.networks.images import NetworkInput
from tomoseg.preprocessed.format import CaseRecord


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
    return [Draw(case, k, (seed, epoch, number)) for number, (case, k) in enumerate(chosen[place] for place in order)]


MOST_OF_A_BLOCK = (128, 128, 32)
"""Voxels of a training block where none are configured."""


def sample_size(records: Sequence[CaseRecord], config: TrainConfig) -> tuple[int, ...]:
    """Pixels of a training slice, or voxels of a block: as configured, or the median case's.

    They are multiples of the network's stride. Larger slices are cropped at random, which augments; to pad everyone
    to the largest would spend time on air. Blocks of the median case are cut to `MOST_OF_A_BLOCK`.

    Args:
        records: The training cases.
        config: `network.tile`, or `sampling.patch_size` for slices, which is rounded up to a multiple.
    """
    network = config.network
    if network.tile:
        return network.tile
    padded = NetworkInput(config.windows_hu, network).padded
    if network.dims == 2 and config.sampling.patch_size is not None:
        return padded(config.sampling.patch_size)
    median = np.median([record.placement.shape[: network.dims] for record in records], axis=0)
    if network.dims == 3:
        median = np.minimum(median, MOST_OF_A_BLOCK)
    return padded(tuple(max(1, round(float(length) / network.stride)) * network.stride for length in median))


def structure_frequencies(records: Sequence[CaseRecord], structures: int) -> list[float]:
    """Share of the voxels that each structure fills, over the cases where it is annotated; 0 where none is."""
    filled, seen = np.zeros(structures), np.zeros(structures)
    for record in records:
        annotated = list(record.annotated)
        seen[annotated] += float(np.prod(record.placement.shape))
        filled[annotated] += [record.voxels[c] for c in annotated]
    return (filled / np.maximum(seen, 1)).tolist()


def emphasis_of(frequencies: Sequence[float], power: float) -> list[float]:
    """How much a structure's own voxels weigh in the cross-entropy: one over its frequency, to a power.

    Args:
        frequencies: Share of voxels that each structure fills; 0 where it never occurs, which weighs 1.
        power: 0 lets all voxels weigh alike, 1 lets a structure weigh as much as its surroundings.

    Example:
        >>> emphasis_of([0.01, 0.0], 0.5)
        [10.0, 1.0]
    """
    return [f**-power if f > 0 else 1.0 for f in frequencies]


def emphasised(frequencies: Sequence[float], emphasis: Sequence[float]) -> list[float]:
    """The probability that a network which knows frequencies only would give every voxel: its last layer's start."""
    return [e * f / (e * f + 1 - f) for f, e in zip(frequencies, emphasis, strict=True)]
