"""Label maps, probability maps and doses among scans, known by their values."""

from __future__ import annotations

from collections.abc import Iterable

from tomoseg.checks.values import holds_labels
from tomoseg.errors import TomosegError
from tomoseg.files.no_scan import LABELS, map_among
from tomoseg.files.scan import first_values, read_scan
from tomoseg.files.source import Lost, ScanSource


def without_maps(scans: Iterable[ScanSource]) -> tuple[list[ScanSource], list[Lost]]:
    """Scans, and what has other values instead; what cannot be read stays among the scans.

    Of a CT the first voxels are enough, since some are below -1; what has none is read whole.
    """
    kept, maps = [], []
    for source in scans:
        what = None if source.is_dicom else _map(source)
        if what is None:
            kept.append(source)
        else:
            maps.append(Lost(source.path, what))
    return kept, maps


def _map(source: ScanSource) -> str | None:
    """What a volume is by its values, if that is no scan."""
    try:
        if (first_values(source) < -1).any():
            return None
        volume = read_scan(source)
        return map_among(volume.warnings) or (LABELS if holds_labels(volume) else None)
    except TomosegError:
        return None  # reading says what is wrong with it
