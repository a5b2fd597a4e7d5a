"""`tomoseg view --save`: masks as a 3D page that needs no server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tomoseg.datasets.cases import MaskCase
from tomoseg.datasets.mask_cases import OpenMasks
from tomoseg.errors import InputError
from tomoseg.files.outputs import check_file
from tomoseg.options import AS_SEEN, ViewOptions
from tomoseg.packages import require_installed
from tomoseg.pictures.page_3d import masks_3d, write_masks_3d
from tomoseg.workflows.view import find_views, labels_of, scan_of
from tomoseg.workflows.view_cases import ViewCase, masks_of


def save_page(
    place: Path,
    masks: Sequence[Path],
    path: Path,
    *,
    against: Path | None = None,
    options: ViewOptions = AS_SEEN,
) -> int:
    """Write masks as a 3D page.

    Args:
        place: The scan; or the masks themselves if `masks` is empty.
        masks: The masks of the scan: a folder or a file of all of them, or several files.
        path: The HTML file to write.
        against: Masks to compare them with.
        options: The DICOM series, and the initial language of the page.

    Returns:
        The size of the file in bytes.

    Raises:
        ConfigError: If scikit-image is not installed.
        DatasetError: If there are no masks.
        GridError: If masks are not on the scan's grid.
        InputError: If a file cannot be read, or the place holds many cases.
        LabelError: If values or names are invalid.
        OutputError: If the page cannot be written.
    """
    require_installed("skimage")
    _check_page(path)
    ours, theirs, onto, owner = _opened(place, masks, against, options)
    reference = None if theirs is None else OpenMasks(theirs, onto.grid, owner)
    labels = labels_of([ours, *(() if theirs is None else (theirs,))])
    return write_masks_3d(masks_3d(labels, onto, reference), onto.grid, path, onto.case.name, options.lang)


def _check_page(path: Path) -> None:
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"{path}: expected the name of a page to save, such as page.html, got another; add .html")
    check_file(path)


def _opened(
    place: Path, masks: Sequence[Path], against: Path | None, options: ViewOptions
) -> tuple[MaskCase, MaskCase | None, OpenMasks, str]:
    """Open the masks on the scan's grid, or on their own without a scan, and the masks to compare with.

    Raises:
        InputError: If there are none.
    """
    if not masks:
        if not place.exists():
            raise InputError(f"{place}: expected masks, got nothing at that path; check it")
        ours = masks_of((place,), place.name)
        theirs = None if against is None else masks_of((against,), ours.name)
        return ours, theirs, OpenMasks(ours), "the masks"
    (case,) = find_views(place, masks, against).cases
    ours = _there(case)
    return ours, case.reference, OpenMasks(ours, scan_of(case, options).source, str(place)), str(place)


def _there(case: ViewCase) -> MaskCase:
    assert case.masks is not None  # given by the user
    return case.masks
