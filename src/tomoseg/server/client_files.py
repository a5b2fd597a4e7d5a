"""Packing scans and masks for the server, and unpacking its results."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tomoseg.errors import InputError, ServerError
from tomoseg.files.atomic import errors_told, whole_folder


def pack_scan(files: Sequence[Path], stream: IO[bytes]) -> None:
    """Write a ZIP archive without the files' names, which may contain a patient's.

    Args:
        files: The files of a scan.
        stream: The stream to write to.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for number, file in enumerate(files, start=1):
            with errors_told(file):
                archive.write(file, f"{number:06d}.dcm")


def packed_mask(mask: Path, case: Mapping[str, Any]) -> bytes:
    """Pack a mask as the server takes it: one byte per voxel on the scan's grid, compressed.

    Args:
        mask: A file of 0 and 1, in any orientation.
        case: The server's view of the job.

    Raises:
        InputError: If it is not such a file, or the scan is too large to be corrected there.
        GridError: If it lies on another grid.
    """
    import numpy as np  # the only part of the client that needs NumPy

    from tomoseg.files.label_files import read_mask
    from tomoseg.volume import SourceGrid

    if case["not_correctable"] is not None:
        text = "expected a scan of which every voxel is shown, got one that is too large"
        raise InputError(f"{text}; correct its masks with `tomoseg view`")
    if not mask.is_file():
        raise InputError(f"{mask}: expected the file of a mask, found nothing there; check the path")
    shape: tuple[int, int, int] = tuple(case["shape"])
    values = read_mask(mask, SourceGrid(shape, np.array(case["affine"], float)), "the job's scan")
    return gzip.compress(np.asfortranarray(values).astype(np.uint8).tobytes(order="F"), 1)


def unpack_result(archive: IO[bytes], folder: Path) -> list[Path]:
    """Unpack the ZIP archive of a result; either all files appear, or none.

    Args:
        archive: The ZIP archive.
        folder: Folder to write to.

    Raises:
        OutputError: If the files cannot be written.
        ServerError: If it is not a ZIP archive, or a name would lead out of the folder.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            names = [one.filename for one in packed.infolist() if not one.is_dir()]
            for name in names:
                check_name(name)
            with whole_folder(folder) as aside:
                for name in names:
                    (aside / name).parent.mkdir(parents=True, exist_ok=True)
                    with packed.open(name) as source, (aside / name).open("wb") as place:
                        shutil.copyfileobj(source, place)
    except zipfile.BadZipFile:
        raise ServerError("expected a zip of a result, got another answer; check the proxy between") from None
    return [folder / name for name in names]


def check_name(name: str) -> None:
    """Refuse a file name that would lead out of the folder.

    Args:
        name: A name from the server.

    Raises:
        ServerError: If it would.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise ServerError(
            "expected names of files within a result, got one that leads elsewhere; do not trust that server"
        )
