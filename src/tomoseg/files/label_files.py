"""Reading of labels from all supported files: masks, label maps, and files of several named structures.

NIfTI, NRRD and MetaImage files hold one mask or one label map, whose names are stored elsewhere. 3D Slicer's
segmentations (`.seg.nrrd`), DICOM segmentations and DICOM structure sets name their structures, which may overlap.
Kinds are recognised by the first bytes, or else by the file's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8, UInt16

from tomoseg.errors import GridError, InputError
from tomoseg.files import nifti
from tomoseg.files.channels import count_channels, read_channels
from tomoseg.files.dicom.objects import label_object
from tomoseg.files.itk.metaimage import METAIMAGE
from tomoseg.files.itk.metaimage import SUFFIXES as META_SUFFIXES
from tomoseg.files.itk.nrrd import MAGIC as NRRD_MAGIC
from tomoseg.files.itk.nrrd import NRRD
from tomoseg.files.itk.read_seg_nrrd import read_seg_nrrd, segments_in_nrrd
from tomoseg.files.segments import Segments, voxel_corners_mm
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, check_same_grid

SEG_NRRD = ".seg.nrrd"

_SEG_DCM, _RTSTRUCT_DCM = ".seg.dcm", ".rtstruct.dcm"
_DICOM_ENDINGS = (".labelmap.seg.dcm", _SEG_DCM, _RTSTRUCT_DCM, ".dcm")

SUFFIXES = (".nii.gz", ".nii", SEG_NRRD, ".nrrd", ".nhdr", *META_SUFFIXES, *_DICOM_ENDINGS[:-1])
"""Endings of files of labels, in upper or lower case; if a folder has several kinds, the first are its masks.

DICOM files may have any name and are recognised by their content."""

_Kind = Literal["nifti", "nrrd", "metaimage", "segmentation", "structure set"]


def label_suffix(path: Path) -> str | None:
    """Return the ending of a file of labels, or the usual one of its kind; None for any other file.

    Example:
        >>> label_suffix(Path("s0/Labels.SEG.NRRD"))
        '.seg.nrrd'
    """
    named = _ending(path, SUFFIXES)
    if named is not None and not named.endswith(".dcm"):
        return named
    match label_object(path):
        case "segmentation":
            return named if named is not None and named.endswith(_SEG_DCM) else _SEG_DCM
        case "structure set":
            return _RTSTRUCT_DCM
    return None if path.is_file() else named  # a broken link counts by its name


def label_stem(path: Path) -> str:
    """Return a file's name without the ending of its kind."""
    ending = _ending(path, (*SUFFIXES, *_DICOM_ENDINGS))
    return path.name[: len(path.name) - len(path.suffix if ending is None else ending)]


def names_itself(path: Path) -> bool:
    """Whether a file is of a kind that names its structures itself, whatever its name."""
    return label_suffix(path) in {SEG_NRRD, *_DICOM_ENDINGS}


def needs_scan(path: Path) -> bool:
    """Whether a file can only be read on the grid of its scan.

    This applies to structure sets, whose contours have no voxels, and to segmentations on unevenly spaced slices.

    Raises:
        InputError: If it cannot be read.
    """
    kind = _kind(path)
    if kind == "segmentation":
        try:
            read_geometry(path)
        except GridError:
            return True
    return kind == "structure set"


def corners_mm(path: Path) -> Float[np.ndarray, "n 3"]:
    """Return the corners of the bounding box of a file's voxel centres or contours, `(n, 3)` in RAS+ mm.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is unknown.
    """
    if _kind(path) != "structure set":
        return voxel_corners_mm(read_geometry(path))
    from tomoseg.files.dicom.read_structures import read_structure_set  # imports pydicom

    return read_structure_set(path).corners_mm


def belongs_to(path: Path, grid: SourceGrid) -> bool:
    """Whether a DICOM file of structures has the frame of reference of a DICOM scan, if both state one.

    Raises:
        InputError: If it cannot be read.
    """
    if label_object(path) is None or grid.slices is None or grid.slices.header is None:
        return False
    from tomoseg.files.dicom.spaces import shares_space  # imports pydicom

    return shares_space(path, grid.slices.header)


def _ending(path: Path, endings: Sequence[str]) -> str | None:
    return next((ending for ending in endings if path.name.lower().endswith(ending)), None)


def read_mask(path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan") -> Bool[np.ndarray, "x y z"]:
    """Read the mask of one structure as `nifti.read_mask` does, from any kind of file with only one.

    Raises:
        InputError: If the file cannot be read, or holds values other than 0 and 1.
        GridError: If it is on another grid.
    """
    if _kind(path) == "nifti":
        return nifti.read_mask(path, expect, expect_name)
    values = read_label_map(path, expect, expect_name)
    if values.max() > 1:
        found = ", ".join(map(str, np.unique(values)[:6]))
        raise InputError(f"{path}: expected only 0 and 1, got {found}; export it again as such")
    return values.astype(bool)


def read_label_map(
    path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan"
) -> UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]:
    """Read a label map as `nifti.read_label_map` does, from any kind of file.

    Raises:
        InputError: If the file cannot be read, or holds negative, fractional or too large values.
        GridError: If it is on another grid.
    """
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read_label_map(path, expect, expect_name)
    if kind in {"segmentation", "structure set"}:
        raise InputError(
            f"{path}: expected a mask or a label map, got a DICOM {kind}, which names its structures itself; "
            "pass it alone, as one file of all structures"
        )
    if expect is not None:
        check_same_grid(expect, read_geometry(path), expect_name, str(path))
    values, grid = (NRRD if kind == "nrrd" else METAIMAGE).labels(path)
    return grid.to_canonical(values)


def read_geometry(path: Path) -> SourceGrid:
    """Read the grid of a file of labels, from its header alone.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is unknown, or cannot be used.
    """
    return _geometry(path)[0]


def noticed_of_geometry(path: Path) -> tuple[Notice, ...]:
    """Return notices about a file's geometry, from its header alone, or about structures without contours.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is unknown, or cannot be used.
    """
    if _kind(path) != "structure set":
        return _geometry(path)[1]
    from tomoseg.files.dicom.read_structures import read_structure_set  # imports pydicom

    return read_structure_set(path).notices


def _geometry(path: Path) -> tuple[SourceGrid, tuple[Notice, ...]]:
    kind = _kind(path)
    if kind in {"segmentation", "structure set"}:
        return open_segments(path).grid, ()
    if count_channels(path) > 1:
        return read_channels(path, ()).grid, ()
    if kind == "nifti":
        return nifti.read_geometry_and_notices(path)
    if kind == "metaimage":
        return METAIMAGE.geometry(path)
    return (read_seg_nrrd(path).grid, ()) if segments_in_nrrd(path) else NRRD.geometry(path)


def segment_values(path: Path) -> Mapping[str, Sequence[int]] | None:
    """Return the structures that a file names itself, each with its value if no other has the same.

    Returns:
        None for a file without names, which is one mask or one label map.

    Raises:
        InputError: If its header cannot be read.
        LabelError: If a name occurs twice, or cannot be used.
    """
    kind = _kind(path)
    if kind in {"segmentation", "structure set"}:
        return _values_in_dicom(path, kind)
    if kind != "nrrd":
        return None
    places = segments_in_nrrd(path)
    values = [place.value for place in places.values()]
    return {name: (p.value,) if values.count(p.value) == 1 else () for name, p in places.items()} or None


def _values_in_dicom(path: Path, kind: _Kind) -> dict[str, tuple[int, ...]]:
    if kind == "segmentation":
        from tomoseg.files.dicom.read_segmentation import segments_in_dicom  # imports pydicom

        return {name: () if value is None else (value,) for name, value in segments_in_dicom(path).items()}
    from tomoseg.files.dicom.read_structures import read_structure_set  # imports pydicom

    return {name: () for name in read_structure_set(path).contours}


def open_segments(
    path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan", channels: Sequence[str] = ()
) -> Segments:
    """Open a file of several structures.

    Args:
        path: A file that names its structures (see `segment_values`), or one of several channels.
        expect: The grid of the masks, of which the file covers all or a box; None for the file's own.
        expect_name: Name of the owner of that grid in messages.
        channels: Structures of its channels, from `channels.channel_names`.

    Raises:
        InputError: If it cannot be read.
        GridError: If its voxels are not voxels of that grid.
        LabelError: If a name occurs twice, or cannot be used.
    """
    kind = _kind(path)
    if kind == "structure set":
        from tomoseg.files.dicom.read_structures import read_structure_set  # imports pydicom

        if expect is None:
            raise GridError(
                f"{path}: expected the scan beside a DICOM structure set, whose contours are not on a voxel "
                "grid, got none; put the scan that they were drawn on beside it"
            )
        return read_structure_set(path).on(expect, expect_name)
    if kind == "segmentation":
        from tomoseg.files.dicom.read_segmentation import read_segmentation  # imports pydicom

        segments = read_segmentation(path, expect)
    else:
        segments = read_channels(path, channels) if channels else read_seg_nrrd(path)
    return segments if expect is None else segments.on(expect, expect_name)


def _kind(path: Path) -> _Kind:
    """Return the kind of a file; if it cannot be read, that of its name, so that its reader reports the error."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(NRRD_MAGIC))
    except OSError:
        start = NRRD_MAGIC if path.name.lower().endswith((".nrrd", ".nhdr")) else b""
    if start == NRRD_MAGIC:
        return "nrrd"
    if (dicom := label_object(path)) is not None:
        return dicom
    return "metaimage" if path.name.lower().endswith(META_SUFFIXES) else "nifti"
