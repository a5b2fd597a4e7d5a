"""Label maps, probability maps and doses among scans, recognised by their values."""

from __future__ import annotations

from collections.abc import Iterable

from tomoseg.checks.values import holds_labels
from tomoseg.errors import TomosegError
from tomoseg.files.no_scan import LABELS, map_among
from tomoseg.files.scan import first_values, read_scan
from tomoseg.files.source import Lost, ScanSource


def without_maps(scans: Iterable[ScanSource]) -> tuple[list[ScanSource], list[Lost]]:
    """Separate scans from maps by their values; unreadable files stay among the scans.

    The first voxels of a CT suffice, since some are below -1; volumes without such a voxel are read whole.
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
    """Return the kind of a map from its values, or None for a scan."""
    try:
        if (first_values(source) < -1).any():
            return None
        volume = read_scan(source)
        return map_among(volume.warnings) or (LABELS if holds_labels(volume) else None)
    except TomosegError:
        return None  # reported when it is read
