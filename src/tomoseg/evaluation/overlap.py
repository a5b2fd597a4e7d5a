"""Overlap of predicted and reference masks, counted slice by slice while a scan is being predicted."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Int64, UInt8

from tomoseg.evaluation.metrics import VOXEL_METRICS, values_of
from tomoseg.evaluation.pairs import VoxelCounts
from tomoseg.evaluation.scores import EMPTIES, StructureScore
from tomoseg.labels import LabelSet
from tomoseg.masks import check_packed

_BIT_OF_BYTE = (np.arange(256)[:, None] >> np.arange(8)) & 1


class OverlapCounter:
    """Counter of predicted, reference and shared voxels of packed masks, slice by slice.

    Args:
        structures: Number of structures in the label set.
    """

    def __init__(self, structures: int) -> None:
        self.structures = structures
        self.predicted: Int64[np.ndarray, " c"] = np.zeros(structures, np.int64)
        self.reference = np.zeros(structures, np.int64)
        self.both = np.zeros(structures, np.int64)

    def add(self, predicted: UInt8[np.ndarray, "b *xyz"], reference: UInt8[np.ndarray, "b *xyz"]) -> None:
        """Count one slice, or any part of a volume.

        Raises:
            InputError: If the number of bytes does not fit the structures.
        """
        check_packed(predicted, self.structures)
        check_packed(reference, self.structures)
        for total, packed in (
            (self.predicted, predicted),
            (self.reference, reference),
            (self.both, predicted & reference),
        ):
            total += count_bits(packed, self.structures)

    def scores(self, labels: LabelSet, annotated: Collection[int], voxel_ml: float) -> tuple[StructureScore, ...]:
        """Return the scores of the annotated structures.

        Args:
            labels: The structures, in channel order.
            annotated: Channels that have a reference.
            voxel_ml: Volume of a voxel in ml.
        """
        found = []
        for channel in sorted(annotated):
            predicted, reference, both = (int(n[channel]) for n in (self.predicted, self.reference, self.both))
            counts = VoxelCounts(predicted, reference, both, voxel_ml)
            values = values_of(counts, VOXEL_METRICS, EMPTIES["tomoseg"])
            found.append(StructureScore(labels.names[channel], counts.reference_ml, counts.predicted_ml, values))
        return tuple(found)


def count_bits(packed: UInt8[np.ndarray, "b *xyz"], structures: int) -> Int64[np.ndarray, " c"]:
    """Count the voxels of each structure.

    Example:
        >>> count_bits(np.array([[1, 3, 2]], np.uint8), 3).tolist()
        [2, 2, 0]
    """
    counts = np.zeros((packed.shape[0], 8), np.int64)
    for plane, values in enumerate(packed):
        if values.any():
            counts[plane] = np.bincount(values.ravel(), minlength=256) @ _BIT_OF_BYTE
    return counts.ravel()[:structures]
