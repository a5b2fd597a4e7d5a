"""A CT scan of any kind that is read, told apart by its content: DICOM, NIfTI, NRRD, MetaImage."""

from __future__ import annotations

from pathlib import Path

from tomoseg.errors import InputError
from tomoseg.files.dicom.entries import is_zip, walk
from tomoseg.files.dicom.headers import looks_like_dicom
from tomoseg.files.dicom.read import read_dicom
from tomoseg.files.itk.metaimage import SUFFIXES as META_SUFFIXES
from tomoseg.files.itk.metaimage import read_metaimage
from tomoseg.files.itk.nrrd import MAGIC as NRRD_MAGIC
from tomoseg.files.itk.nrrd import read_nrrd
from tomoseg.files.nifti import read_ct
from tomoseg.volume import Volume

SCAN_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
"""How files end that are a scan each. Those of DICOM end in anything, and are a slice each."""


def read_scan(
    path: Path, series: int | None = None, assume_spacing: tuple[float, float, float] | None = None
) -> Volume:
    """Read a CT scan.

    Args:
        path: A NIfTI, NRRD or MetaImage file; or DICOM as a folder, a zip archive or a file; or a folder with one
            scan in it, in whatever folders.
        series: Which of several DICOM series, from 1; the largest axial one if None.
        assume_spacing: Voxel edges in mm, along the file's axes, taken where it does not say where its voxels lie.

    Returns:
        The scan in RAS+ order, with what was noticed as its warnings.

    Raises:
        InputError: If it cannot be read, or voxel edges cannot be such.
        GridError: If its geometry is not known, or cannot be used.

    Example:
        >>> scan = read_scan(Path("ct.nii.gz"))
        >>> scan.shape, scan.spacing_mm
        ((48, 40, 12), (8.0, 8.0, 10.0))
    """
    if assume_spacing is not None and not all(0 < edge < 1000 for edge in assume_spacing):
        raise InputError(f"expected voxel edges in mm above 0, got {assume_spacing}; correct --assume-spacing")
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise InputError(f"{path}: expected a file or a folder, got neither, perhaps a pipe; name a file")
    if is_dicom(path):
        return read_dicom(path, series, assume_spacing)
    if series is not None:
        raise InputError(f"{path}: expected DICOM for --series, got one volume; leave it off")
    if path.is_dir():
        return read_scan(_only_file(path), None, assume_spacing)
    if path.is_file() and _start(path) == NRRD_MAGIC:
        return read_nrrd(path, assume_spacing)
    if path.name.lower().endswith(META_SUFFIXES):
        return read_metaimage(path, assume_spacing)
    return read_ct(path, assume_spacing)


def _only_file(folder: Path) -> Path:
    """The one scan in a folder without DICOM.

    Raises:
        InputError: If there is none, or several.
    """
    found = [path for path in walk(folder) if path.name.lower().endswith(SCAN_SUFFIXES)]
    if len(found) != 1:
        raise InputError(
            f"{folder}: expected a folder with one scan, got {len(found) or 'none'} in it; "
            f"{'name one of them' if found else 'check the path'}"
        )
    return found[0]


def is_dicom(path: Path) -> bool:
    """Whether a path is a folder, an archive or a file of DICOM.

    Raises:
        InputError: If it cannot be looked into.
    """
    try:
        if path.is_dir():
            return any(_is_dicom_file(file) for file in walk(path))
        return path.is_file() and (is_zip(path) or _is_dicom_file(path))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}; check it") from None


def files_of(path: Path) -> list[Path]:
    """The files that a scan is read from: those below a folder, else the file itself."""
    return list(walk(path)) if path.is_dir() else [path]


def scan_stem(path: Path) -> str:
    """What a scan is called: its file's name without the suffix of its kind, or its folder's."""
    if path.is_dir():
        return path.resolve().name
    lower = path.name.lower()
    suffix = next((suffix for suffix in (*SCAN_SUFFIXES, ".dcm") if lower.endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def _is_dicom_file(path: Path) -> bool:
    with path.open("rb") as file:
        return looks_like_dicom(file)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(NRRD_MAGIC))
