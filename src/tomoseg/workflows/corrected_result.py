"""Results with corrected masks, written in the same way as other results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tomoseg.datasets.corrections import Correction
from tomoseg.datasets.mask_cases import OpenMasks
from tomoseg.evaluation.measure import Measurement, measure
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import BoxedMask
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows.correct import BY_A_PERSON
from tomoseg.workflows.results import stem_of, write_result, write_statistics
from tomoseg.workflows.scans import Scan
from tomoseg.workflows.view import corrected_masks
from tomoseg.workflows.view_cases import ViewCase


@dataclass(frozen=True)
class CorrectedResult:
    """The files and measurements of a corrected result.

    Attributes:
        files: Paths relative to the folder of the result.
        measured: Measurements of each structure.
    """

    files: list[str]
    measured: list[Measurement]


def write_corrected(
    case: ViewCase,
    corrected: Mapping[str, Correction],
    labels: LabelSet,
    volume: Volume,
    place: Scan,
    formats: Sequence[str],
) -> CorrectedResult:
    """Write all masks of a case, each in its last corrected version, and their measurements.

    In a label map corrected masks overwrite other structures, the last one uppermost.

    Args:
        case: The scan with its masks.
        corrected: Corrections by structure.
        labels: The structures of the result, with their values.
        volume: The scan.
        place: Output place: a folder of masks, or a label map.
        formats: Formats to write.

    Raises:
        GridError: If masks are not on the scan's grid.
        InputError: If a file cannot be read.
        OutputError: If it cannot be written.
        TomosegError: If no format can be written.
    """
    assert case.masks is not None
    opened = OpenMasks(corrected_masks(case.masks, corrected), volume.source, "the scan")
    in_turn = [*(n for n in labels.names if n not in corrected), *sorted(corrected, key=lambda n: corrected[n].version)]
    masks = {name: opened.mask(name) for name in in_turn if name in labels}
    result = (
        Segmentation.from_masks([masks[name] for name in labels.names], labels, volume.source)
        if stem_of(place) is None
        else _label_map(masks, labels, volume.source)
    )
    written = write_result(result, None, place, formats, BY_A_PERSON)
    measured = measure(result, volume)
    return CorrectedResult([*written.files, write_statistics(measured, place)], measured)


def _label_map(masks: Mapping[str, BoxedMask], labels: LabelSet, grid: SourceGrid) -> LabelMap:
    values = np.zeros(grid.canonical_shape, label_type(labels.ids), order="F")
    for name, mask in masks.items():
        values[mask.box][mask.inside] = labels[name].id
    return LabelMap(values, labels, grid)
