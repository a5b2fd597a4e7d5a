"""The grid that the two sides of a comparison are read onto.

It is the reference's own where that has all voxels of its scan. A file that names its structures itself may have a part
of them, and contours have none: it is then the prediction's, or that of the scan where one of the sides cannot do
without it; of two such files the one's, grown by what the other has beyond it.
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
    """The grid of a comparison, and what to call its owner in messages.

    Args:
        ours: The prediction.
        theirs: The reference.
        resample: Whether predictions are moved onto the reference's grid.

    Raises:
        InputError: If a file cannot be read.
        GridError: If a side cannot do without its scan, which is not there, or its geometry is not known.
    """
    free = [case for case in (theirs, ours) if not _is_bound(case)]
    scan = None if len(free) == 2 else scan_grid(theirs) or scan_grid(ours)
    if scan is not None:
        return scan, "the scan"
    owner = _owner(free or [theirs], None if resample else ours)
    grid = read_geometry(owner.first_file)  # of one that cannot do without its scan this says what lacks
    if owner.segments is not None:
        grid = _grown(grid, ours if owner is theirs else theirs)
    return grid, str(owner.first_file)


def _is_bound(case: MaskCase) -> bool:
    """Whether a side cannot be read without its scan."""
    return case.segments is not None and needs_scan(case.segments)


def _owner(sides: Sequence[MaskCase], ours: MaskCase | None) -> MaskCase:
    """The side whose grid is taken: the first, unless it may have a part of its scan and the prediction has all."""
    if sides[0].segments is not None and ours is not None and ours in sides and ours.segments is None:
        return ours
    return sides[0]


def _grown(grid: SourceGrid, other: MaskCase) -> SourceGrid:
    """A grid with room for what a file of segments has beyond it on the same voxels."""
    path = other.first_file
    if other.segments is not None and (needs_scan(path) or same_lattice(grid, read_geometry(path))):
        return grown(grid, corners_mm(path))
    return grid


def scan_grid(case: MaskCase) -> SourceGrid | None:
    """The grid of a case's scan, or of the DICOM scan that lies beside its file of segments; None without one."""
    if case.ct is not None:
        return read_scan(case.ct).source
    if case.segments is None:
        return None
    try:
        grid = read_scan(case.segments.parent).source
    except TomosegError:  # no scan, or not one alone
        return None
    return grid if belongs_to(case.segments, grid) else None
