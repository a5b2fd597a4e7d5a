"""Sampling: the slices of an epoch, their size, and the weights of structures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from tomoseg.config import SamplingConfig, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.networks.images import NetworkInput
from tomoseg.preprocessed.format import CaseRecord


@dataclass(frozen=True)
class Draw:
    """Draw of one training slice.

    Attributes:
        case: Index of its case among the training cases.
        slice: Index of the slice on the grid.
        key: Unique key of the draw within a run; seeds its crop and augmentation.
        structure: Channel of the structure that it was drawn for, which its crop contains; None if drawn uniformly.
    """

    case: int
    slice: int
    key: tuple[int, int, int]
    structure: int | None = None


def draw_epoch(
    records: Sequence[CaseRecord],
    config: SamplingConfig,
    seed: int,
    epoch: int,
    allowed: Sequence[Bool[np.ndarray, "_"]] | None = None,
) -> list[Draw]:
    """Draw all slices of an epoch in random order; deterministic for the same arguments.

    Every case gives `slices_per_case` draws. A draw is either a slice that contains a structure chosen among those in
    the case (uniformly, or rare ones more often: `chances_of`), or uniform over the case's slices. If only some slices
    are allowed, both are among these: a structure in none of them is not chosen.

    Args:
        records: The training cases.
        config: Draws per case, the fraction drawn for structures, and the preference of rare ones.
        seed: The run's seed.
        epoch: Number of the epoch.
        allowed: Mask `(slices,)` of the slices of each case that may be drawn, at least one; None allows all.
    """
    rng = np.random.default_rng((seed, epoch))
    counts = slice_counts(records) if config.rare_power > 0 else None
    chosen = []
    for case, record in enumerate(records):
        free = np.ones(record.placement.shape[2], bool) if allowed is None else allowed[case]
        drawn = _draws_of_case(rng, record, free, config, counts)
        chosen += [(case, k, structure) for k, structure in drawn]
    order = rng.permutation(len(chosen))
    ordered = (chosen[place] for place in order)
    return [Draw(case, k, (seed, epoch, number), structure) for number, (case, k, structure) in enumerate(ordered)]


def _draws_of_case(
    rng: np.random.Generator,
    record: CaseRecord,
    free: Bool[np.ndarray, "_"],
    config: SamplingConfig,
    counts: Counter[int] | None,
) -> Iterator[tuple[int, int | None]]:
    """Yield the slices of one case, each with the structure that it was drawn for."""
    present = [c for c in record.annotated if record.occurrence[c] and free[record.slices_of(c)].any()]
    chances = chances_of([counts[c] for c in present], config.rare_power) if counts and present else None
    for _ in range(config.slices_per_case):
        slices, structure = np.arange(len(free)), None
        if present and rng.random() < config.structure_share:
            structure = present[_choose(rng, len(present), chances)]
            slices = record.slices_of(structure)
        slices = slices[free[slices]]
        yield int(slices[rng.integers(len(slices))]), structure


def slice_counts(records: Sequence[CaseRecord]) -> Counter[int]:
    """Count the slices of all cases that contain each channel."""
    counts: Counter[int] = Counter()
    for record in records:
        for channel in record.annotated:
            counts[channel] += sum(last - first for first, last in record.occurrence[channel])
    return counts


def chances_of(counts: Sequence[int], power: float) -> list[float]:
    """Return the probability of choosing each structure, proportional to `frequency ** -power`.

    Frequency is the fraction of all training slices that contain the structure, not of cases: slices are drawn, and an
    adrenal gland is in nearly every case but on few slices of each. A structure that few cases have, or have annotated,
    is on few slices too. Slices where it is not annotated count as slices without it, since they do not train it.

    Args:
        counts: Training slices that contain each structure, at least 1.
        power: With 0 all are equally likely; with 1 a structure on half as many slices is twice as likely.

    Example:
        >>> chances_of([100, 25], 0.5)  # 1 / 10 to 1 / 5
        [0.3333333333333333, 0.6666666666666666]
    """
    weights = np.array(counts, np.float64) ** -power
    return (weights / weights.sum()).tolist()


def _choose(rng: np.random.Generator, count: int, chances: Sequence[float] | None) -> int:
    """Choose an index, uniformly if there are no chances."""
    return int(rng.integers(count)) if chances is None else int(rng.choice(count, p=chances))


MOST_OF_A_BLOCK = (128, 128, 32)
"""Largest training block if none is configured."""


def sample_size(records: Sequence[CaseRecord], config: TrainConfig) -> tuple[int, ...]:
    """Return the pixels of a training slice, or voxels of a block: as configured, or the median case's.

    They are multiples of the network's stride. Larger slices are cropped at random, which augments; padding all to the
    largest would spend time on air. Blocks of the median case are limited to `MOST_OF_A_BLOCK`.

    Args:
        records: The training cases.
        config: `network.tile`, or `sampling.patch_size` for slices, which is rounded up to a multiple.

    Raises:
        ConfigError: If `patch_size` is given together with blocks or a tile, a tile is larger than every case, or a
            batch of one, such as the last of an epoch, leaves batch normalisation a single voxel.
    """
    size = _sample_size(records, config)
    network = config.network
    coarsest = math.prod(-(-edge // network.stride) for edge in size)
    last = len(records) * config.sampling.slices_per_case % config.batch_size
    alone = 1 in (config.batch_size, last)
    if alone and coarsest == 1 and network.record.batch_statistics(network):
        raise ConfigError(
            f"expected slices or blocks of more than {network.stride} voxels along an edge for a batch of one"
            f"{'' if config.batch_size == 1 else ', which the last of an epoch is'}, got {' x '.join(map(str, size))}, "
            "of which the coarsest level is one voxel; raise the size, change batch_size, or use "
            "network.normalisation group"
        )
    return size


def _sample_size(records: Sequence[CaseRecord], config: TrainConfig) -> tuple[int, ...]:
    network = config.network
    padded = NetworkInput(config.windows_hu, network).padded
    if config.sampling.patch_size is not None and (network.dims == 3 or network.tile):
        raise ConfigError(
            "expected no sampling.patch_size for blocks and for networks with a tile, got "
            f"{config.sampling.patch_size}; their size is network.tile"
        )
    if network.tile:
        _check_tile(records, config)
        return padded(network.tile)
    if config.sampling.patch_size is not None:
        return padded(config.sampling.patch_size)
    median = np.median([record.placement.shape[: network.dims] for record in records], axis=0)
    if network.dims == 3:
        median = np.minimum(median, MOST_OF_A_BLOCK)
    return padded(tuple(max(1, round(float(length) / network.stride)) * network.stride for length in median))


def _check_tile(records: Sequence[CaseRecord], config: TrainConfig) -> None:
    """Refuse a tile that is larger than every case.

    Raises:
        ConfigError: If it is larger than the largest case.
    """
    network = config.network
    largest = np.max([record.placement.shape[: network.dims] for record in records], axis=0).tolist()
    enough = NetworkInput(config.windows_hu, network.model_copy(update={"tile": ()})).padded(tuple(largest))
    if any(edge > most for edge, most in zip(network.tile, enough, strict=True)):
        raise ConfigError(
            f"expected network.tile of at most {' '.join(map(str, enough))}, which holds the largest case of "
            f"{' x '.join(map(str, largest))}, got {' '.join(map(str, network.tile))}; the rest would be air"
        )


def structure_frequencies(records: Sequence[CaseRecord], structures: int) -> list[float]:
    """Return the fraction of voxels that each structure fills where it is annotated; 0 if it is annotated nowhere."""
    filled, seen = np.zeros(structures), np.zeros(structures)
    for record in records:
        annotated = list(record.annotated)
        seen[annotated] += float(np.prod(record.placement.shape))
        filled[annotated] += [record.voxels[c] for c in annotated]
    return (filled / np.maximum(seen, 1)).tolist()


def pos_weights_of(frequencies: Sequence[float], power: float) -> list[float]:
    """Return the weights of the structures' foreground voxels in the cross-entropy, `frequency ** -power`.

    Args:
        frequencies: Fraction of voxels that each structure fills; structures with 0 weigh 1.
        power: With 0 all voxels have the same weight; with 1 a structure weighs as much as its surroundings.

    Example:
        >>> pos_weights_of([0.01, 0.0], 0.5)
        [10.0, 1.0]
    """
    return [f**-power if f > 0 else 1.0 for f in frequencies]


def with_pos_weights(frequencies: Sequence[float], pos_weight: Sequence[float]) -> list[float]:
    """Return the constant prediction with the lowest weighted cross-entropy, to which the head's bias is initialised.

    Args:
        frequencies: Fraction of voxels that each structure fills.
        pos_weight: Weight of each structure's foreground voxels.
    """
    return [e * f / (e * f + 1 - f) for f, e in zip(frequencies, pos_weight, strict=True)]
