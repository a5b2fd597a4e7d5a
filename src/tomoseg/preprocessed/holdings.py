"""Contents of a preprocessed dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomoseg.checks.holdings import CaseHolding, Holdings, extent_of
from tomoseg.labels import LabelSet
from tomoseg.preprocessed.format import CaseRecord
from tomoseg.views import unordered


def holdings_of(records: Sequence[CaseRecord], labels: LabelSet, view: str = "axial") -> Holdings:
    """Summarise what the cases contain, with volumes on the network's grid.

    Args:
        records: The cases.
        labels: The structures, in channel order.
        view: View of the cases' slices.
    """
    return Holdings.of([_held(record, labels, view) for record in records], labels.names)


def _held(record: CaseRecord, labels: LabelSet, view: str) -> CaseHolding:
    spacing = record.source.spacing_mm
    place = record.placement
    voxel_ml = float(np.prod(spacing) * np.prod(place.extent) / np.prod(place.shape)) / 1000
    annotated = tuple(labels.names[channel] for channel in record.annotated)
    volumes = {labels.names[channel]: record.voxels.get(channel, 0) * voxel_ml for channel in record.annotated}
    return CaseHolding(
        record.name, annotated, volumes, unordered(spacing, view), unordered(extent_of(record.source), view)
    )
