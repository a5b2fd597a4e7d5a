"""Overlap of predicted and reference masks, one volume at a time, on the scan's own grid.

A structure that is not annotated has no score. One that is annotated and absent has no Dice either (0 would punish a
right answer, 1 would reward silence); what was predicted for it is reported as a false-positive volume.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from tomoseg.labels import LabelSet
from tomoseg.masks import check_packed

_BIT_OF_BYTE = (np.arange(256)[:, None] >> np.arange(8)) & 1


@dataclass(frozen=True)
class StructureScore:
    """How one structure of one case was predicted.

    Attributes:
        structure: Its name.
        dice: 2 |A and B| / (|A| + |B|) in [0, 1]; None where the reference is empty.
        iou: |A and B| / |A or B|; None where the reference is empty.
        reference_ml: Volume of the reference.
        predicted_ml: Volume of the prediction.
    """

    structure: str
    dice: float | None
    iou: float | None
    reference_ml: float
    predicted_ml: float

    @property
    def false_positive_ml(self) -> float | None:
        """Volume predicted of an absent structure; None where it is present."""
        return self.predicted_ml if self.reference_ml == 0 else None


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case: one for each annotated structure."""

    case: str
    structures: tuple[StructureScore, ...]


class OverlapCounter:
    """Counts voxels of packed masks slice by slice.

    Args:
        structures: Structures in the label set.
    """

    def __init__(self, structures: int) -> None:
        self.structures = structures
        self.predicted: Int64[np.ndarray, " c"] = np.zeros(structures, np.int64)
        self.reference = np.zeros(structures, np.int64)
        self.both = np.zeros(structures, np.int64)

    def add(self, predicted: UInt8[np.ndarray, "b *xyz"], reference: UInt8[np.ndarray, "b *xyz"]) -> None:
        """Count one slice, or any part of a volume.

        Raises:
            InputError: If the bytes do not fit the structures.
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
        """The scores of the annotated structures.

        Args:
            labels: The structures, in channel order.
            annotated: Channels that have a reference.
            voxel_ml: Volume of a voxel.
        """
        found = []
        for channel in sorted(annotated):
            predicted, reference, both = (int(n[channel]) for n in (self.predicted, self.reference, self.both))
            present = reference > 0
            found.append(
                StructureScore(
                    labels.names[channel],
                    2 * both / (predicted + reference) if present else None,
                    both / (predicted + reference - both) if present else None,
                    reference * voxel_ml,
                    predicted * voxel_ml,
                )
            )
        return tuple(found)


def count_bits(packed: UInt8[np.ndarray, "b *xyz"], structures: int) -> Int64[np.ndarray, " c"]:
    """Voxels of each structure.

    Example:
        >>> count_bits(np.array([[1, 3, 2]], np.uint8), 3).tolist()
        [2, 2, 0]
    """
    counts = np.zeros((packed.shape[0], 8), np.int64)
    for plane, values in enumerate(packed):
        if values.any():
            counts[plane] = np.bincount(values.ravel(), minlength=256) @ _BIT_OF_BYTE
    return counts.ravel()[:structures]
