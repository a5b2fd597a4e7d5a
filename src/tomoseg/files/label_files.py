"""Labels in files of every kind that is read: masks, label maps, and files of several structures with their names.

NIfTI, NRRD and MetaImage files hold one mask or one label map, whose names are said elsewhere. Segmentations of 3D
Slicer (`.seg.nrrd`) name their segments themselves, which may overlap. Kinds are told by first bytes, and by a file's
name where those say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from tomoseg.errors import InputError
from tomoseg.files import nifti
from tomoseg.files.itk.metaimage import METAIMAGE
from tomoseg.files.itk.metaimage import SUFFIXES as META_SUFFIXES
from tomoseg.files.itk.nrrd import MAGIC as NRRD_MAGIC
from tomoseg.files.itk.nrrd import NRRD
from tomoseg.files.itk.read_seg_nrrd import read_seg_nrrd, segments_in_nrrd
from tomoseg.files.segments import Segments
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, check_same_grid

SEG_NRRD = ".seg.nrrd"

SUFFIXES = (".nii.gz", ".nii", SEG_NRRD, ".nrrd", ".nhdr", *META_SUFFIXES)
"""How files of labels end, in capitals or not; where a folder has several kinds, those of the first are its masks."""

_Kind = Literal["nifti", "nrrd", "metaimage"]


def label_suffix(path: Path) -> str | None:
    """How a file of labels ends; None for any other file.

    Example:
        >>> label_suffix(Path("s0/Labels.SEG.NRRD"))
        '.seg.nrrd'
    """
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)


def label_stem(path: Path) -> str:
    """A file's name without the ending of its kind."""
    return path.name[: len(path.name) - len(label_suffix(path) or path.suffix)]


def read_mask(path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan") -> Bool[np.ndarray, "x y z"]:
    """Read the mask of one structure; as `nifti.read_mask`, from any kind of file but those of several structures.

    Raises:
        InputError: If the file cannot be read, or holds anything but 0 and 1.
        GridError: If it lies on another grid.
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
    """Read a label map; as `nifti.read_label_map`, from any kind of file.

    Raises:
        InputError: If the file cannot be read, or holds negative, fractional or too large values.
        GridError: If it lies on another grid.
    """
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read_label_map(path, expect, expect_name)
    if expect is not None:
        check_same_grid(expect, read_geometry(path), expect_name, str(path))
    values, grid = (NRRD if kind == "nrrd" else METAIMAGE).labels(path)
    return grid.to_canonical(values)


def read_geometry(path: Path) -> SourceGrid:
    """The grid of a file of labels, from its header alone.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is not known, or cannot be used.
    """
    return _geometry(path)[0]


def noticed_of_geometry(path: Path) -> tuple[Notice, ...]:
    """What is noticed of where a file's voxels lie, from its header alone; raises as `read_geometry`."""
    return _geometry(path)[1]


def _geometry(path: Path) -> tuple[SourceGrid, tuple[Notice, ...]]:
    kind = _kind(path)
    if kind == "nifti":
        return nifti.read_geometry_and_notices(path)
    if kind == "metaimage":
        return METAIMAGE.geometry(path)
    return (read_seg_nrrd(path).grid, ()) if segments_in_nrrd(path) else NRRD.geometry(path)


def segment_values(path: Path) -> Mapping[str, Sequence[int]] | None:
    """The structures that a file names itself, each with its value where no other has it.

    Returns:
        None for a file that names none, which is one mask or one label map.

    Raises:
        InputError: If its header cannot be read.
        LabelError: If a name comes twice, or cannot be used.
    """
    if _kind(path) != "nrrd":
        return None
    places = segments_in_nrrd(path)
    values = [place.value for place in places.values()]
    return {name: (p.value,) if values.count(p.value) == 1 else () for name, p in places.items()} or None


def open_segments(path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan") -> Segments:
    """Open a file of several structures.

    Args:
        path: A file for which `segment_values` are not None.
        expect: The grid that the masks are wanted on, of which the file has all or a box; None takes the file's.
        expect_name: What to call the owner of that grid in messages.

    Raises:
        InputError: If it cannot be read.
        GridError: If its voxels are not voxels of that grid.
        LabelError: If a name comes twice, or cannot be used.
    """
    segments = read_seg_nrrd(path)
    return segments if expect is None else segments.on(expect, expect_name)


def _kind(path: Path) -> _Kind:
    """What a file is read as; a missing or unreadable one as its name says, so that its reader says what is wrong."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(NRRD_MAGIC))
    except OSError:
        start = NRRD_MAGIC if path.name.lower().endswith((".nrrd", ".nhdr")) else b""
    if start == NRRD_MAGIC:
        return "nrrd"
    return "metaimage" if path.name.lower().endswith(META_SUFFIXES) else "nifti"
