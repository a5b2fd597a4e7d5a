"""A CT scan of any kind that is read, told apart by its content: DICOM, NIfTI, NRRD, MetaImage.

`look` finds what lies at a path, once; `read_scan` reads what was found. Libraries for DICOM are imported where there
is DICOM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from tomoseg.errors import InputError
from tomoseg.files.dicom.entries import Entry
from tomoseg.files.itk.metaimage import SUFFIXES as META_SUFFIXES
from tomoseg.files.itk.metaimage import read_metaimage
from tomoseg.files.itk.nrrd import MAGIC as NRRD_MAGIC
from tomoseg.files.itk.nrrd import read_nrrd
from tomoseg.files.nifti import read_ct
from tomoseg.files.source import START_BYTES, ScanKind, ScanSource, SourceFile, list_folder, starts_dicom, starts_zip
from tomoseg.volume import Volume

SCAN_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
"""How files end that are a scan each. Those of DICOM end in anything, and are a slice each."""


def read_scan(
    scan: Path | ScanSource, series: int | None = None, assume_spacing: tuple[float, float, float] | None = None
) -> Volume:
    """Read a CT scan.

    Args:
        scan: A NIfTI, NRRD or MetaImage file; or DICOM as a folder, a zip archive or a file; or a folder with one
            scan in it, in whatever folders. Or what `look` found there.
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
    source = scan if isinstance(scan, ScanSource) else look(scan)
    if source.is_dicom:
        from tomoseg.files.dicom.read import read_dicom  # imports pydicom

        return read_dicom(source, series, assume_spacing)
    if series is not None:
        raise InputError(f"{source.path}: expected DICOM for --series, got one volume; leave it off")
    if source.kind == "nrrd":
        return read_nrrd(source.path, assume_spacing)
    if source.kind == "metaimage":
        return read_metaimage(source.path, assume_spacing)
    return read_ct(source.path, assume_spacing)


def look(path: Path) -> ScanSource:
    """What scan lies at a path. A folder is listed once, and files are opened until one of them is DICOM.

    Args:
        path: As for `read_scan`. Where nothing is, its name decides, and reading says that nothing is there.

    Raises:
        InputError: If it cannot be looked into, is neither a file nor a folder, or is a folder without DICOM that does
            not hold just one scan.
    """
    with _looking_into(path):
        if not path.is_dir():
            return _look_at_file(path)
        files = tuple(list_folder(path).walk())
    return dicom_among(files, path) or _only_scan(files, path)


def dicom_among(files: Sequence[SourceFile], folder: Path) -> ScanSource | None:
    """The DICOM of a folder; None if there is none.

    Args:
        files: All files of it.
        folder: Where they lie.

    Raises:
        InputError: If a file cannot be read.
    """
    with _looking_into(folder):
        for file in files:
            with file.path.open("rb") as stream:
                if starts_dicom(stream.read(START_BYTES)):
                    return ScanSource("dicom", folder, tuple(files), _first_images(stream, file))
    return None


def _first_images(stream: IO[bytes], file: SourceFile) -> tuple[Any, ...]:
    """What a DICOM file says of its images, so that it need not be opened again; nothing where it is damaged."""
    from tomoseg.files.dicom.headers import images_in  # imports pydicom

    stream.seek(0)
    try:
        return images_in(stream, Entry(file.path, None, file.size), str(file.path)) or ()
    except InputError:
        return ()  # reading says how it is damaged


def _only_scan(files: Sequence[SourceFile], folder: Path) -> ScanSource:
    """The one scan in a folder without DICOM.

    Raises:
        InputError: If there is none, or several.
    """
    found = [file.path for file in files if file.path.name.lower().endswith(SCAN_SUFFIXES)]
    if len(found) != 1:
        raise InputError(
            f"{folder}: expected a folder with one scan, got {len(found) or 'none'} in it; "
            f"{'name one of them' if found else 'check the path'}"
        )
    with _looking_into(found[0]):
        return replace(_look_at_file(found[0]), files=tuple(files))


def _look_at_file(path: Path) -> ScanSource:
    """A file told apart by its first bytes.

    Raises:
        OSError: If it cannot be read.
        InputError: If it is no file.
    """
    if not path.exists():
        return ScanSource(_kind(path, b""), path, ())
    if not path.is_file():
        raise InputError(f"{path}: expected a file or a folder, got neither, perhaps a pipe; name a file")
    file = SourceFile.at(path)
    with path.open("rb") as stream:
        kind = _kind(path, stream.read(START_BYTES))
        return ScanSource(kind, path, (file,), _first_images(stream, file) if kind == "dicom" else ())


def _kind(path: Path, start: bytes) -> ScanKind:
    if starts_zip(start):
        return "zip"
    if starts_dicom(start):
        return "dicom"
    if start.startswith(NRRD_MAGIC):
        return "nrrd"
    return "metaimage" if path.name.lower().endswith(META_SUFFIXES) else "nifti"


@contextmanager
def _looking_into(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}; check it") from None


def scan_stem(path: Path) -> str:
    """What a scan is called: its file's name without the suffix of its kind, or its folder's."""
    if path.is_dir():
        return path.resolve().name
    lower = path.name.lower()
    suffix = next((suffix for suffix in (*SCAN_SUFFIXES, ".dcm") if lower.endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]
