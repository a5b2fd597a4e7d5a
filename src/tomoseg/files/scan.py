"""Reading of CT scans of all supported kinds, recognised by their content: DICOM, NIfTI, NRRD, MetaImage.

`look` examines a path once; `read_scan` reads the result. Libraries for DICOM are imported only if there is DICOM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float32

from tomoseg.errors import InputError, counted
from tomoseg.files.dicom.entries import Entry
from tomoseg.files.itk.detached import detached
from tomoseg.files.itk.metaimage import METAIMAGE
from tomoseg.files.itk.metaimage import SUFFIXES as META_SUFFIXES
from tomoseg.files.itk.nrrd import MAGIC as NRRD_MAGIC
from tomoseg.files.itk.nrrd import NRRD
from tomoseg.files.nifti import read_ct, read_first_values
from tomoseg.files.no_scan import says_it_is
from tomoseg.files.paths import shown
from tomoseg.files.source import (
    HEADER_BYTES,
    START_BYTES,
    Headers,
    Lost,
    ScanKind,
    ScanSource,
    SourceFile,
    reason,
    starts_dicom,
    starts_zip,
    walk,
)
from tomoseg.files.stores.addresses import is_mirrored
from tomoseg.files.stores.mirror import make_whole
from tomoseg.notices import Notice
from tomoseg.volume import Volume

SCAN_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
"""Endings of files that are one scan each. DICOM files may have any ending and are one slice each."""


def read_scan(
    scan: Path | str | ScanSource, series: int | None = None, assume_spacing: tuple[float, float, float] | None = None
) -> Volume:
    """Read a CT scan.

    Args:
        scan: A NIfTI, NRRD or MetaImage file; DICOM as a folder, a ZIP archive or a file; a folder that contains one
            scan at any depth; or the result of `look`.
        series: Number of the DICOM series to read, from 1; None for the largest axial one of a study.
        assume_spacing: Voxel spacing in mm along the file's axes, used if the file states no geometry.

    Returns:
        The scan in RAS+ order; notices from reading it are in its `warnings`.

    Raises:
        InputError: If it cannot be read, contains scans of several patients or studies and no series is given, or the
            assumed spacing is not positive.
        GridError: If its geometry is unknown or unusable.

    Example:
        >>> scan = read_scan(Path("ct.nii.gz"))
        >>> scan.shape, scan.spacing_mm
        ((48, 40, 12), (8.0, 8.0, 10.0))
    """
    if assume_spacing is not None and not all(0 < edge < 1000 for edge in assume_spacing):
        raise InputError(f"expected a voxel size in mm above 0, got {assume_spacing}; correct --assume-spacing")
    source = scan if isinstance(scan, ScanSource) else look(Path(scan))
    _have(source)
    volume = _read(source, series, assume_spacing)
    return replace(volume, warnings=(*source.notices, *volume.warnings)) if source.notices else volume


def _have(source: ScanSource) -> None:
    """Fetch the files of a scan that are in a store."""
    make_whole(file.path for file in source.files)
    if is_mirrored(source.path):  # otherwise there is nothing to fetch, and no header has to be opened again
        make_whole(file.path for file in detached(source))


def _read(source: ScanSource, series: int | None, assume_spacing: tuple[float, float, float] | None) -> Volume:
    if source.is_dicom:
        from tomoseg.files.dicom.read import read_dicom  # imports pydicom

        return read_dicom(source, series, assume_spacing)
    if series is not None:
        raise InputError(f"{source.path}: expected DICOM for --series, got one volume; leave it off")
    if source.kind == "nrrd":
        return NRRD.scan(source.path, assume_spacing)
    if source.kind == "metaimage":
        return METAIMAGE.scan(source.path, assume_spacing)
    return read_ct(source.path, assume_spacing)


def first_values(source: ScanSource) -> Float32[np.ndarray, "i j s"]:
    """Read the first few megabytes of a volume's voxels, scaled, in the file's axis order.

    Args:
        source: A source of any kind but DICOM.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is unknown.
    """
    _have(source)
    readers = {"nrrd": NRRD.first_values, "metaimage": METAIMAGE.first_values}
    return readers.get(source.kind, read_first_values)(source.path)


def look(path: Path) -> ScanSource:
    """Find the scan at a path. A folder is listed once; files are opened until one is DICOM.

    Args:
        path: A path as for `read_scan`. If it does not exist, its name decides the kind, and reading reports it.

    Raises:
        InputError: If it cannot be read, is neither a file nor a folder, or is a folder without DICOM that does not
            hold exactly one scan.
    """
    with _looking_into(path):
        if not path.is_dir():
            return look_at_file(path)
        folders = list(walk(path))
    files = sorted((file for folder in folders for file in folder.files), key=lambda file: file.path.parts)
    lost = [one for folder in folders for one in folder.lost]
    return _dicom_among(files, path, lost) or _only_scan(files, path)


def _dicom_among(files: Sequence[SourceFile], folder: Path, lost: Sequence[Lost]) -> ScanSource | None:
    """Return the DICOM of a folder as a source; None if there is none.

    Args:
        files: All files in it.
        folder: The folder.
        lost: Files that cannot be read, to which others are added.
    """
    lost = list(lost)
    known: Headers = {}
    for file in files:
        try:
            known[file.path] = images_of(file)
        except OSError as error:
            lost.append(Lost(file.path, reason(error)))
        except InputError:  # reading reports the damage
            return ScanSource("dicom", folder, tuple(files), notices=of_lost(lost, folder), headers=known)
        if known.get(file.path) is not None:
            return ScanSource("dicom", folder, tuple(files), notices=of_lost(lost, folder), headers=known)
    return None


def of_lost(lost: Sequence[Lost], folder: Path) -> tuple[Notice, ...]:
    """Return a notice of files that cannot be read beside a DICOM scan, of which slices may be missing."""
    if not lost:
        return ()
    named = "; ".join(f"{shown(one.path, folder)}: {one.why}" for one in lost[:5])
    more = f"; and {len(lost) - 5} more" if len(lost) > 5 else ""
    text = (
        f"{folder}: {counted(len(lost), 'file')} cannot be read ({named}{more}); slices may be missing. Copy the "
        "folder again."
    )
    return (Notice(text, "unreadable files"),)


def images_of(file: SourceFile) -> tuple[Any, ...] | None:
    """Read the image headers of a DICOM file, so that it need not be opened again; None if it is not DICOM.

    Raises:
        OSError: If it cannot be read.
        InputError: If it is damaged.
    """
    make_whole([file.path])
    with file.path.open("rb") as stream:
        return _images_in(stream, file) if starts_dicom(stream.read(START_BYTES)) else None


def _images_in(stream: IO[bytes], file: SourceFile) -> tuple[Any, ...] | None:
    from tomoseg.files.dicom.headers import images_in  # imports pydicom

    stream.seek(0)
    return images_in(stream, Entry(file.path, None, file.size), str(file.path))


def _only_scan(files: Sequence[SourceFile], folder: Path) -> ScanSource:
    """Return the only scan in a folder without DICOM.

    Raises:
        InputError: If there is none, or several.
    """
    found = [file.path for file in files if file.path.name.lower().endswith(SCAN_SUFFIXES)]
    if not found:
        raise InputError(f"{folder}: expected a folder with one scan, got none; check the path")
    if len(found) > 1:
        raise InputError(f"{folder}: expected a folder with one scan, got {len(found)} in it; name one of them")
    with _looking_into(found[0]):
        return replace(look_at_file(found[0]), files=tuple(files))


def look_at_file(path: Path) -> ScanSource:
    """Recognise the kind of a file by its first bytes.

    Raises:
        OSError: If it cannot be read.
        InputError: If it is not a file.
    """
    if not path.exists():
        return ScanSource(_kind(path, b""), path, ())
    if not path.is_file():
        raise InputError(f"{path}: expected a file or a folder, got neither, perhaps a pipe; name a file")
    file = SourceFile.at(path)
    make_whole([path])
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES)
        kind = _kind(path, start)
        headers: Headers = {}
        if kind == "dicom":
            with suppress(InputError):  # reading reports the damage
                headers[path] = _images_in(stream, file)
    return ScanSource(kind, path, (file,), says_it_is(kind, start), headers=headers)


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
    """Return the name of a scan: that of its file without the suffix, or that of its folder."""
    if path.is_dir():
        return path.resolve().name
    lower = path.name.lower()
    suffix = next((suffix for suffix in (*SCAN_SUFFIXES, ".dcm") if lower.endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]
