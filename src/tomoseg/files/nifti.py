"""Reading and writing of NIfTI files: scans, masks and label maps.

Arrays are returned in RAS+ order, as a view of the voxels in the file's order; nothing is resampled. The header is read
and checked first (`nifti_header` describes what is supported), then exactly the voxels that it claims. A file that
cannot hold them is refused before memory is allocated. gzip is read by isal, several times as fast as zlib. Compression
is recognised by the first bytes of a file.

Rules for voxels:

- A scan becomes int16 HU. Stored int16 without scaling is used as it is; other types are scaled in float32 slab by
  slab, rounded (halves to even) and clipped to int16 with a warning. NaN and infinity are refused.
- A mask holds 0 and 1, a label map integers from 0 to 65535, both after scaling.
- A mask or label map may be stored in another axis order than its scan, on the same voxels in space.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from isal import igzip, isal_zlib
from jaxtyping import Bool, Float32, Int16, Shaped, UInt8, UInt16

from tomoseg.errors import InputError
from tomoseg.files.atomic import whole_file
from tomoseg.files.gzip_zeros import ZerosGzip
from tomoseg.files.hu import fill_hu
from tomoseg.files.nifti_header import Header, build_header, parse_header, read_header
from tomoseg.files.paths import lacking
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, Volume, check_same_grid

GZIP_MAGIC = b"\x1f\x8b"

_gzip: Any = igzip.IGzipFile
_GZIP_ERRORS: Any = (EOFError, igzip.BadGzipFile, isal_zlib.error)
_LARGEST_GZIP_RATIO = 1032
"""Maximum ratio of deflate, which codes at most 258 bytes in 2 bits."""

_READ_BYTES = 1 << 20
_SLAB_BYTES = 4_000_000
_LARGEST_LABEL = np.iinfo(np.uint16).max
_NEARLY = 1e-4
"""Maximum deviation of a scaled mask value from an integer: 255 x float32(1 / 255) is not exactly 1. An integer that
was saved as a scaled real may deviate by half a step, as long as steps are below `_WIDEST_STEP`."""

_FLOAT32 = 2.0**-22
"""Relative error of scaling in float32."""

_WIDEST_STEP = 0.5
"""Maximum step of stored values; with wider ones it is ambiguous which integer was meant."""

_WRITABLE = tuple(np.dtype(kind) for kind in ("bool", "uint8", "uint16", "int16", "float32"))


def read_ct(path: Path, assume_spacing: tuple[float, float, float] | None = None) -> Volume:
    """Read a CT scan.

    Args:
        path: A `.nii` or `.nii.gz` file in HU, in any orientation.
        assume_spacing: Voxel spacing in mm, used if the file has no orientation; its axes are then taken to be RAS+.

    Returns:
        The scan in RAS+ order; notices from reading it are in its `warnings`.

    Raises:
        InputError: If the file is missing, damaged, not NIfTI, not one volume, or holds NaN or infinity.
        GridError: If its orientation is unknown, or its geometry cannot be used.
    """
    with _opened(path, assume_spacing) as (stream, header):
        as_it_is = not header.is_scaled and header.dtype.newbyteorder("=") == np.int16
        if as_it_is:
            hu, warnings = _all_voxels(stream, header, path), list[Notice]()
        else:
            hu, warnings = _scaled_hu(stream, header, path)
        if stream.read(1):
            text = f"{path}: bytes follow the last voxel and were ignored. Check the size in the header."
            warnings.append(Notice(text, "trailing bytes"))
    return Volume(header.grid.to_canonical(hu), header.grid, (*header.warnings, *warnings))


def read_first_values(path: Path) -> Float32[np.ndarray, "i j s"]:
    """Read the first few megabytes of a volume's voxels, scaled, in the file's axis order.

    Raises:
        InputError: If the file is missing, damaged or not a NIfTI volume.
        GridError: If its orientation is unknown, or its geometry cannot be used.
    """
    with _opened(path) as (stream, header):
        return next(_scaled_slabs(stream, header, path))[1]


def read_mask(path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan") -> Bool[np.ndarray, "x y z"]:
    """Read the mask of one structure.

    Args:
        path: A `.nii` or `.nii.gz` file of zeros and ones; all zeros is a mask of an absent structure.
        expect: The grid that it must have, in any axis order.
        expect_name: Name of the owner of that grid in messages.

    Returns:
        The mask in RAS+ order, a view of the file's voxels.

    Raises:
        InputError: If the file cannot be read, or holds values other than 0 and 1.
        GridError: If it is on another grid.
    """
    with _opened(path) as (stream, header):
        _check_expected(header, path, expect, expect_name)
        mask = _mask_from(stream, header, path)
        _check_ends(stream)
    return header.grid.to_canonical(mask)


def read_label_map(
    path: Path, expect: SourceGrid | None = None, expect_name: str = "the scan"
) -> UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]:
    """Read a label map: one integer per voxel, 0 for background.

    Args:
        path: A `.nii` or `.nii.gz` file.
        expect: The grid that it must have, in any axis order.
        expect_name: Name of the owner of that grid in messages.

    Returns:
        The labels in RAS+ order, uint8 if they fit, otherwise uint16.

    Raises:
        InputError: If the file cannot be read, or holds negative, fractional or too large values.
        GridError: If it is on another grid.
    """
    with _opened(path) as (stream, header):
        _check_expected(header, path, expect, expect_name)
        if header.dtype == np.uint8 and not header.is_scaled:
            labels = _all_voxels(stream, header, path)
        else:
            labels = _read_scaled_labels(stream, header, path)
        _check_ends(stream)
    return header.grid.to_canonical(labels)


def count_volumes(path: Path) -> int:
    """Return the number of volumes in a file, along a fourth axis; raises the errors of `read_geometry`."""
    with _opened(path, several=True) as (_, header):
        return header.volumes


def read_masks_of_volumes(path: Path) -> tuple[SourceGrid, Iterator[Bool[np.ndarray, "x y z"]]]:
    """Return the grid of a file of several volumes, and an iterator over them as masks in RAS+ order.

    Raises:
        InputError: If the file cannot be read; from the iterator, if a volume holds values other than 0 and 1.
        GridError: If its orientation is unknown, or its geometry cannot be used.
    """

    def masks() -> Iterator[Bool[np.ndarray, "x y z"]]:
        with _opened(path, several=True) as (stream, header):
            for _ in range(header.volumes):
                yield header.grid.to_canonical(_mask_from(stream, header, path))
            _check_ends(stream)

    with _opened(path, several=True) as (_, header):
        return header.grid, masks()


def read_geometry(path: Path) -> SourceGrid:
    """Read the grid of a file, from its header alone.

    Raises:
        InputError: If the file is missing or not a NIfTI volume.
        GridError: If its orientation is unknown, or its geometry cannot be used.
    """
    return read_geometry_and_notices(path)[0]


def read_geometry_and_notices(path: Path) -> tuple[SourceGrid, tuple[Notice, ...]]:
    """Read the grid of a file and notices, from its header alone; raises the errors of `read_geometry`."""
    with _opened(path) as (_, header):
        return header.grid, header.warnings


def write_nifti(path: Path, array: Shaped[np.ndarray, "x y z"], grid: SourceGrid) -> None:
    """Write an array in the grid and orientation of a file, atomically.

    The same array and grid give the same bytes. The header is that of `nifti_header.build_header`.

    Args:
        path: A `.nii` or `.nii.gz` file to write; an existing one is replaced, and a missing folder is made.
        array: `(x, y, z)` in RAS+ order; bool (written as uint8), uint8, uint16, int16 or float32.
        grid: Its grid.

    Raises:
        InputError: If the name has another ending, or the array is of another type.
        GridError: If the array does not fit the grid.
        OutputError: If it cannot be written.
    """
    if array.dtype.newbyteorder("=") not in _WRITABLE:
        raise InputError(f"{path}: expected {', '.join(map(str, _WRITABLE))}, got {array.dtype}; convert the array")
    if array.dtype == bool:
        array = array.view(np.uint8)
    _write(path, array, grid)


def write_bit(
    path: Path,
    packed: UInt8[np.ndarray, "x y z"],
    bit: int,
    grid: SourceGrid,
    used: UInt8[np.ndarray, "k"] | None = None,
) -> None:
    """Write the mask in one bit of every voxel as `write_nifti` does, without unpacking the whole mask.

    Args:
        path: A `.nii.gz` or `.nii` file to write; an existing one is replaced, and a missing folder is made.
        packed: `(x, y, z)` in RAS+ order; fastest if its memory is in the file's order.
        bit: The bit, 0 to 7.
        grid: Its grid.
        used: The result of `used_bits`, if known already.

    Raises:
        InputError: If the name has another ending.
        GridError: If the array does not fit the grid.
        OutputError: If it cannot be written.
    """
    _write(path, packed, grid, bit, used)


def used_bits(packed: UInt8[np.ndarray, "x y z"], grid: SourceGrid) -> UInt8[np.ndarray, "k"]:
    """Return the bits that are set anywhere in each slice along the file's last axis.

    Args:
        packed: `(x, y, z)` in RAS+ order.
        grid: Its grid.
    """
    slices = grid.from_canonical(packed).transpose(2, 1, 0)
    return np.array([np.bitwise_or.reduce(one, axis=None) for one in slices], np.uint8)


def _write(
    path: Path,
    array: np.ndarray,
    grid: SourceGrid,
    bit: int | None = None,
    used: UInt8[np.ndarray, "k"] | None = None,
) -> None:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: expected a name that ends in .nii or .nii.gz, got {path.name}; rename it")
    voxels = grid.from_canonical(array)
    header = build_header(grid, voxels.dtype.newbyteorder("="))
    if bit is None:
        filled = np.array([one.any() for one in voxels.transpose(2, 1, 0)])
    else:
        filled = (used_bits(array, grid) if used is None else used) >> np.uint8(bit) & 1 == 1
    with whole_file(path) as aside, aside.open("wb") as file:
        if path.name.endswith(".gz"):
            with ZerosGzip(file) as stream:
                _write_voxels(stream, stream.write_zeros, header, voxels, bit, filled)
        else:
            _write_voxels(file, lambda count: file.write(bytes(count)), header, voxels, bit, filled)


def _write_voxels(
    stream: Any,
    write_zeros: Callable[[int], object],
    header: bytes,
    voxels: np.ndarray,
    bit: int | None,
    filled: Bool[np.ndarray, "k"],
) -> None:
    stream.write(header)
    little = voxels.dtype.newbyteorder("<")
    slice_bytes = voxels[..., 0].nbytes
    for run in _runs(filled):
        if not filled[run.start]:
            write_zeros((run.stop - run.start) * slice_bytes)
            continue
        for where in _slabs_of(voxels.shape, voxels.itemsize, run):
            # transposed, the file's order (first axis fastest) is C order: no copy if memory is in that order
            slab = np.ascontiguousarray(voxels[..., where].T, little)
            if bit is not None:
                slab = slab >> np.uint8(bit)
                slab &= np.uint8(1)
            stream.write(slab.reshape(-1).view(np.uint8).data)


def _runs(filled: Bool[np.ndarray, "k"]) -> Iterator[slice]:
    """Yield runs of slices that are all empty, or all not."""
    changes = np.flatnonzero(np.diff(filled)) + 1
    for start, stop in pairwise([0, *changes.tolist(), len(filled)]):
        yield slice(start, stop)


def _slabs_of(shape: tuple[int, ...], itemsize: int, within: slice | None = None) -> Iterator[slice]:
    depth = max(1, _SLAB_BYTES // (shape[0] * shape[1] * itemsize))
    low, high = (0, shape[2]) if within is None else (within.start, within.stop)
    for start in range(low, high, depth):
        yield slice(start, min(start + depth, high))


@contextlib.contextmanager
def _opened(
    path: Path, assume_spacing: tuple[float, float, float] | None = None, several: bool = False
) -> Iterator[tuple[Any, Header]]:
    # yields the stream, at the first voxel, and the checked header; errors of the file become InputError
    try:
        if not path.exists():
            raise InputError(f"{path}: expected a file, got {lacking(path)}")
        if path.is_dir():
            raise InputError(f"{path}: expected a NIfTI file, got a folder; name the file in it")
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path}: expected a file with content, got an empty one; copy or download it again")
        with path.open("rb") as file:
            if file.peek(2)[:2] == GZIP_MAGIC:
                with _gzip(None, "rb", fileobj=file) as stream:
                    yield stream, _header(stream, path, size * _LARGEST_GZIP_RATIO, assume_spacing, several)
            else:
                yield file, _header(file, path, size, assume_spacing, several)
    except _GZIP_ERRORS as error:
        raise InputError(f"{path}: expected a whole gzip file, got: {error}; copy or download it again") from None
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}; check it") from None


def _header(
    stream: Any,
    path: Path,
    largest_size: int,
    assume_spacing: tuple[float, float, float] | None,
    several: bool,
) -> Header:
    raw = read_header(stream)
    header = parse_header(raw, str(path), assume_spacing, several)
    if header.offset + header.voxel_bytes > largest_size:
        raise InputError(
            f"{path}: expected {header.voxel_bytes} bytes of voxels for {header.grid.shape}, "
            "got a file that cannot hold them; it is cut short or its header is damaged: copy it again"
        )
    skip = header.offset - len(raw)
    while skip > 0 and (passed := len(stream.read(min(skip, _READ_BYTES)))):
        skip -= passed
    return header


def _read_into(stream: Any, voxels: np.ndarray, path: Path) -> None:
    view = voxels.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(view):  # in pieces that fit into the processor's cache
        got = stream.readinto(view[filled : filled + _READ_BYTES])
        if not got:
            raise InputError(
                f"{path}: expected {len(view)} bytes of voxels, got {filled} before the file's end; it is cut "
                "short: copy or download it again"
            )
        filled += got


def _all_voxels(stream: Any, header: Header, path: Path) -> Shaped[np.ndarray, "i j k"]:
    """Read all voxels without scaling, in the machine's byte order."""
    voxels = _empty(header.grid.shape[::-1], header.dtype, path)
    _read_into(stream, voxels, path)
    if not voxels.dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(voxels.dtype.newbyteorder("="))
    return voxels.T


def _empty(shape: tuple[int, ...], dtype: Any, path: Path) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except MemoryError:
        raise InputError(f"{path}: expected a volume that fits in memory, got {shape[::-1]} voxels; crop it") from None


def _scaled_slabs(stream: Any, header: Header, path: Path) -> Iterator[tuple[slice, Float32[np.ndarray, "i j s"]]]:
    """Yield slabs of voxels along the file's last axis, scaled, in float32; each is valid until the next one."""
    x, y, _ = header.grid.shape
    for slab in _slabs_of(header.grid.shape, header.dtype.itemsize):
        stored = np.empty((slab.stop - slab.start, y, x), header.dtype)
        _read_into(stream, stored, path)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused afterwards, with a message
            values = stored.astype(np.float32)
            if header.is_scaled:
                values *= np.float32(header.slope)
                values += np.float32(header.intercept)
        yield slab, values.T


def _scaled_hu(stream: Any, header: Header, path: Path) -> tuple[Int16[np.ndarray, "i j k"], list[Notice]]:
    hu = _empty(header.grid.shape[::-1], np.int16, path).T
    return hu, fill_hu(hu, _scaled_slabs(stream, header, path), str(path))


def _check_expected(header: Header, path: Path, expect: SourceGrid | None, expect_name: str) -> None:
    if expect is not None:
        check_same_grid(expect, header.grid, expect_name, str(path))


def _check_ends(stream: Any) -> None:
    """Read past the last voxel, which makes gzip verify its checksum."""
    stream.read(1)


def _mask_from(stream: Any, header: Header, path: Path) -> Bool[np.ndarray, "i j k"]:
    if header.dtype.itemsize == 1 and not header.is_scaled:
        return _read_mask_bytes(stream, header, path)
    return _read_scaled_mask(stream, header, path)


def _read_mask_bytes(stream: Any, header: Header, path: Path) -> Bool[np.ndarray, "i j k"]:
    """Read a mask of unscaled bytes without copying it."""
    voxels = _all_voxels(stream, header, path).view(np.uint8)  # -1 in int8 becomes 255, which is refused
    if voxels.max() > 1:
        found = np.unique(voxels.view(header.dtype))
        _refuse_values(found[(found != 0) & (found != 1)], "only 0 and 1", path)
    return voxels.view(bool)


def _read_scaled_mask(stream: Any, header: Header, path: Path) -> Bool[np.ndarray, "i j k"]:
    mask, nearly = _empty(header.grid.shape[::-1], bool, path).T, _nearly(header)
    for slab, values in _scaled_slabs(stream, header, path):
        inside = np.abs(values - 1) <= nearly
        strange = ~(inside | (np.abs(values) <= nearly))
        if strange.any():
            _refuse_values(np.unique(values[strange]), "only 0 and 1", path)
        mask[..., slab] = inside
    return mask


def _read_scaled_labels(
    stream: Any, header: Header, path: Path
) -> UInt8[np.ndarray, "i j k"] | UInt16[np.ndarray, "i j k"]:
    labels, nearly = _empty(header.grid.shape[::-1], np.uint16, path).T, _nearly(header)
    highest = 0.0
    for slab, values in _scaled_slabs(stream, header, path):
        whole = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which is refused
            strange = ~(
                (np.abs(values - whole) <= nearly + whole * _FLOAT32) & (whole >= 0) & (whole <= _LARGEST_LABEL)
            )
        if strange.any():
            _refuse_values(np.unique(values[strange]), f"whole numbers from 0 to {_LARGEST_LABEL}", path)
        labels[..., slab] = whole
        highest = max(highest, float(whole.max()))
    return labels if highest > 255 else labels.astype(np.uint8)


def _nearly(header: Header) -> float:
    """Return the maximum deviation of a value from an integer."""
    step = abs(header.slope) if header.is_scaled and header.dtype.kind in "iu" else 0.0
    return max(_NEARLY, step / 2 * (1 + _NEARLY)) if step < _WIDEST_STEP else _NEARLY


def _refuse_values(found: np.ndarray, expected: str, path: Path) -> NoReturn:
    named = ", ".join(f"{value:.6g}" for value in found[:6]) + (", ..." if len(found) > 6 else "")
    raise InputError(f"{path}: expected {expected}, got {named}; export it again as such")
