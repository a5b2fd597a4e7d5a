"""Label maps among scans, known by their values."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tomoseg.checks.values import holds_labels
from tomoseg.errors import TomosegError
from tomoseg.files.no_scan import LABELS
from tomoseg.files.scan import first_values, read_scan
from tomoseg.files.source import Lost, ScanSource

NEARLY_WHOLE = 1e-3
"""How far a number may be from a whole one that was stored as another."""


def without_label_maps(scans: Iterable[ScanSource]) -> tuple[list[ScanSource], list[Lost]]:
    """Scans, and what has the values of a label map instead; what cannot be read stays among the scans.

    Of a CT the first voxels are enough, since some are below zero; what has none is read whole.
    """
    kept, maps = [], []
    for source in scans:
        if not source.is_dicom and _is_label_map(source):
            maps.append(Lost(source.path, LABELS))
        else:
            kept.append(source)
    return kept, maps


def _is_label_map(source: ScanSource) -> bool:
    try:
        start = first_values(source)
        if (start < 0).any() or not (np.abs(start - np.rint(start)) <= NEARLY_WHOLE).all():
            return False
        return holds_labels(read_scan(source))
    except TomosegError:
        return False  # reading says what is wrong with it
