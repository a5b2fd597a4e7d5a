"""Writing of compressed MetaImage files (`.mha`), on the scan's own voxels and in its file's axis order.

Coordinates are LPS+, as in ITK.

Source: the MetaIO documentation, https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from jaxtyping import Shaped

from tomoseg.errors import InputError
from tomoseg.files.atomic import whole_file, whole_folder
from tomoseg.files.label_names import check_file_name
from tomoseg.files.results import write_names
from tomoseg.files.target import Target
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks
from tomoseg.volume import SourceGrid

_TYPES = {np.dtype(np.uint8): "MET_UCHAR", np.dtype(np.uint16): "MET_USHORT"}
_LEVEL = 1
"""Compression level of isal, 0 to 3; see `gzip_zeros`."""

_SLAB_BYTES = 4_000_000
_SIZE_DIGITS = 16
_zlib: Any = isal_zlib


def write_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `mha`: a label map as one file with its names beside it, or masks as one file per structure.

    Args:
        result: The masks, or a label map.
        target: The file, or the folder of the masks; other files in that folder stay.

    Returns:
        The paths of the files.

    Raises:
        LabelError: If a name is not valid as a file name.
        OutputError: If they cannot be written.
    """
    if isinstance(result, LabelMap):
        write_metaimage(target.path, result.values, result.grid)
        return [target.path, write_names(result.labels, target.path)]
    for name in result.labels.names:
        check_file_name(name, str(target.path))
    with whole_folder(target.path) as aside:
        for name, mask in zip(result.labels.names, boxed_masks(result), strict=True):
            write_metaimage(aside / f"{name}.mha", mask.whole().view(np.uint8), result.grid)
    return [target.path / f"{name}.mha" for name in result.labels.names]


def write_metaimage(path: Path, array: Shaped[np.ndarray, "x y z"], grid: SourceGrid) -> None:
    """Write an array as one compressed file, atomically; the same array and grid give the same bytes.

    Args:
        path: A `.mha` file; an existing one is replaced, and a missing folder is made.
        array: `(x, y, z)` in RAS+ order; uint8 or uint16.
        grid: Its grid.

    Raises:
        InputError: If the array is of another type.
        GridError: If the array does not fit the grid.
        OutputError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> grid = SourceGrid((2, 1, 1), np.eye(4))
        >>> path = Path(tempfile.mkdtemp()) / "a.mha"
        >>> write_metaimage(path, np.array([[[0]], [[7]]], np.uint8), grid)
        >>> path.read_bytes().splitlines()[5]
        b'TransformMatrix = -1.0 0.0 0.0 0.0 -1.0 0.0 0.0 0.0 1.0'
    """
    if array.dtype not in _TYPES:
        raise InputError(f"{path}: expected {' or '.join(map(str, _TYPES))}, got {array.dtype}; convert the array")
    stored = grid.from_canonical(array)
    start, rest = _header(stored, grid)
    with whole_file(path) as aside, aside.open("wb") as file:
        file.write(f"{start}{0:0{_SIZE_DIGITS}}{rest}".encode("ascii"))
        size = _write_compressed(stored, file)
        file.seek(len(start))
        file.write(f"{size:0{_SIZE_DIGITS}}".encode("ascii"))


def _header(stored: Shaped[np.ndarray, "i j k"], grid: SourceGrid) -> tuple[str, str]:
    """Return the text before and after the size of the compressed voxels, which is not known yet."""
    lps = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3] + 0.0
    spacing_mm = np.linalg.norm(grid.affine[:3, :3], axis=0)
    start = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
        f"TransformMatrix = {_numbers((lps[:, :3] / spacing_mm).T.ravel())}\n"
        f"Offset = {_numbers(lps[:, 3])}\n"
        "CenterOfRotation = 0 0 0\n"
        f"ElementSpacing = {_numbers(spacing_mm)}\n"
        f"DimSize = {' '.join(map(str, stored.shape))}\n"
        "CompressedDataSize = "
    )
    return start, f"\nElementType = {_TYPES[stored.dtype]}\nElementDataFile = LOCAL\n"


def _numbers(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _write_compressed(stored: Shaped[np.ndarray, "i j k"], file: Any) -> int:
    """Write voxels, the first axis fastest, as one zlib stream, and return its size in bytes."""
    packer = _zlib.compressobj(_LEVEL)
    depth = max(1, _SLAB_BYTES // (stored[..., 0].nbytes or 1))
    size = 0
    for first in range(0, stored.shape[2], depth):
        slab = np.ascontiguousarray(stored[..., first : first + depth].T, stored.dtype.newbyteorder("<"))
        size += file.write(packer.compress(slab.reshape(-1).view(np.uint8).data))
    return size + int(file.write(packer.flush()))
