"""What the client packs and unpacks: scans without their files' names, masks on a scan's voxels, results."""

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
    """A zip without the files' names, in which a patient's may be.

    Args:
        files: The files of a scan.
        stream: What it is written to.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for number, file in enumerate(files, start=1):
            with errors_told(file):
                archive.write(file, f"{number:06d}.dcm")


def packed_mask(mask: Path, case: Mapping[str, Any]) -> bytes:
    """A mask as the server takes it: a byte a voxel, on the scan's voxels, compressed.

    Args:
        mask: A file of 0 and 1, in any orientation.
        case: What the server shows of the job.

    Raises:
        InputError: If it is no such file, or the scan is too large to be corrected there.
        GridError: If it lies on other voxels.
    """
    import numpy as np  # these compute; nothing else of the client does

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
    """The files of a result that came as a zip; all of them appear, or none.

    Args:
        archive: The zip.
        folder: Where they go.

    Raises:
        OutputError: If they cannot be written.
        ServerError: If it is no zip, or a name would lead elsewhere.
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
        raise ServerError("expected a zip of a result, got another answer; look at the proxy between") from None
    return [folder / name for name in names]


def check_name(name: str) -> None:
    """Refuse a name that would lead out of the folder.

    Args:
        name: As the server said it.

    Raises:
        ServerError: If it would.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise ServerError(
            "expected names of files within a result, got one that leads elsewhere; do not trust that server"
        )
