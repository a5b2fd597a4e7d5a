"""Label maps among scans, known by their values, and refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tomoseg.checks.values import holds_labels
from tomoseg.errors import InputError, TomosegError
from tomoseg.files.no_scan import LABELS, known_as
from tomoseg.files.scan import first_values, read_scan
from tomoseg.files.source import Lost, ScanSource
from tomoseg.notices import Notice

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


def refuse_known(source: ScanSource, path: Path) -> None:
    """Refuse a file that is known to be no scan before it is read.

    Args:
        source: What lies there.
        path: What to call it.

    Raises:
        InputError: If it is known for something else.
    """
    known = known_as(source)
    if known is not None:
        raise InputError(_refusal(path, known))


def refuse_label_map(notices: Sequence[Notice], path: Path) -> None:
    """Refuse a scan whose values are those of a label map.

    Args:
        notices: What was noticed when its voxels were looked at.
        path: What to call it.

    Raises:
        InputError: If that was among it.
    """
    if any(notice.kind == "label map" for notice in notices):
        raise InputError(_refusal(path, LABELS))


def _refusal(path: Path, known: str) -> str:
    return f"{path}: expected a CT scan, got {known}; pass the scan itself, or --force to segment it all the same"
