"""The common grid on which the two sides of a comparison are read.

It is that of the reference if that covers its whole scan. A file of segments may cover only a part, and contours have
no voxels: the grid is then that of the prediction, or that of the scan if one side needs it; if both are files of
segments, it is that of the reference, extended to cover both.
"""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.datasets.cases import MaskCase
from tomoseg.errors import TomosegError
from tomoseg.files.label_files import belongs_to, corners_mm, needs_scan, read_geometry
from tomoseg.files.scan import read_scan
from tomoseg.files.segments import grown, same_lattice
from tomoseg.volume import SourceGrid


def shared_grid(ours: MaskCase, theirs: MaskCase, resample: bool = False) -> tuple[SourceGrid, str]:
    """Return the grid of a comparison, and the name of its owner in messages.

    Args:
        ours: The prediction.
        theirs: The reference.
        resample: Whether predictions are resampled to the reference's grid.

    Raises:
        InputError: If a file cannot be read.
        GridError: If a side needs its scan, which is missing, or its geometry is unknown.
    """
    free = [case for case in (theirs, ours) if not _is_bound(case)]
    scan = None if len(free) == 2 else scan_grid(theirs) or scan_grid(ours)
    if scan is not None:
        return scan, "the scan"
    owner = _owner(free or [theirs], None if resample else ours)
    grid = read_geometry(owner.first_file)  # raises an error for a side that needs its scan
    if owner.segments is not None:
        grid = _grown(grid, ours if owner is theirs else theirs)
    return grid, str(owner.first_file)


def _is_bound(case: MaskCase) -> bool:
    """Whether a side can only be read with its scan."""
    return case.segments is not None and needs_scan(case.segments)


def _owner(sides: Sequence[MaskCase], ours: MaskCase | None) -> MaskCase:
    """Return the side whose grid is used: the first, unless that is a file of segments and the prediction is not."""
    if sides[0].segments is not None and ours is not None and ours in sides and ours.segments is None:
        return ours
    return sides[0]


def _grown(grid: SourceGrid, other: MaskCase) -> SourceGrid:
    """Extend a grid to cover a file of segments on the same voxel lattice."""
    path = other.first_file
    if other.segments is not None and (needs_scan(path) or same_lattice(grid, read_geometry(path))):
        return grown(grid, corners_mm(path))
    return grid


def scan_grid(case: MaskCase) -> SourceGrid | None:
    """Return the grid of a case's scan, or of the DICOM scan beside its file of segments; None if there is none."""
    if case.ct is not None:
        return read_scan(case.ct).source
    if case.segments is None:
        return None
    try:
        grid = read_scan(case.segments.parent).source
    except TomosegError:  # no scan, or several
        return None
    return grid if belongs_to(case.segments, grid) else None
