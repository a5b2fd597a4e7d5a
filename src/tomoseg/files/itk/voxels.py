"""Reading of voxels from NRRD and MetaImage files: raw, compressed or text, at most as much as the header claims."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8, UInt16

from tomoseg.errors import GridError, InputError
from tomoseg.files.hu import fill_hu
from tomoseg.files.impostors import GZIP, START_BYTES, called
from tomoseg.files.paths import climbs, lacking
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, Volume, check_affine

LARGEST_HEADER_BYTES = 1 << 20
LARGEST_RATIO = 1032
"""Maximum ratio of deflate, which codes at most 258 bytes in 2 bits."""

_LARGEST_LABEL = 65535
_NEARLY = 1e-4
"""Maximum deviation of a label from an integer."""

_READ_BYTES = 1 << 20
_SLAB_BYTES = 4_000_000
_EITHER_HEADER = 32 + zlib.MAX_WBITS  # detects zlib or gzip

Edges = tuple[float, float, float]


@dataclass(frozen=True)
class Stored:
    """The storage and geometry of the voxels of a volume.

    Attributes:
        shape: Voxels along the three axes, the fastest first.
        dtype: Type, with its byte order.
        affine: `(4, 4)`, maps index to RAS+ mm.
        path: The file that holds the voxels.
        offset: Offset of the voxels in it in bytes; None if they are at its end.
        encoding: Encoding of the voxels.
        lines_skipped: Number of lines to skip before them.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    affine: Float[np.ndarray, "4 4"]
    path: Path
    offset: int | None
    encoding: Literal["raw", "deflate", "text"]
    lines_skipped: int = 0

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels in memory, according to the header."""
        return self.shape[0] * self.shape[1] * self.shape[2] * self.dtype.itemsize


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file with a text header.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError:
        raise InputError(f"{name}: expected a file, got {lacking(path)}") from None
    except OSError as error:
        raise InputError(f"{name}: expected a readable file, got: {error.strerror or error}; check it") from None


def read_stored(stored: Stored, name: str, noticed: tuple[Notice, ...], header: IO[bytes]) -> Volume:
    """Read a scan described by a header.

    Args:
        stored: Storage and geometry of its voxels.
        name: Name of the file in messages.
        noticed: Notices from reading the header.
        header: The open file of the header, from which the voxels are read if they are in it.

    Raises:
        InputError: If the file cannot hold what the header claims, is damaged, or has NaN or infinity.
        GridError: If the geometry cannot be used.
    """
    check_affine(stored.affine, name)
    with _voxels(stored, name, header) as slabs:
        hu = np.empty(stored.shape[::-1], np.int16).T
        words = fill_hu(hu, slabs, name)
    grid = SourceGrid(stored.shape, stored.affine)
    return Volume(grid.to_canonical(hu), grid, (*noticed, *words))


def first_values(stored: Stored, name: str, header: IO[bytes]) -> Float32[np.ndarray, "i j s"]:
    """Read the first few megabytes of voxels described by a header, in the file's axis order.

    Args:
        stored: Storage and geometry of the voxels.
        name: Name of the file in messages.
        header: The open file of the header.

    Raises:
        InputError: If the file cannot hold what the header claims, or is damaged.
    """
    with _voxels(stored, name, header) as slabs:
        return next(slabs)[1]


def read_whole_numbers(
    stored: Stored, name: str, header: IO[bytes]
) -> UInt8[np.ndarray, "i j k"] | UInt16[np.ndarray, "i j k"]:
    """Read labels described by a header, in the file's axis order; uint8 if they fit.

    Args:
        stored: Storage and geometry of the voxels.
        name: Name of the file in messages.
        header: The open file of the header, from which the voxels are read if they are in it.

    Raises:
        InputError: If the file cannot hold what the header claims, is damaged, or holds negative, fractional or too
            large values.
        GridError: If the geometry cannot be used.
    """
    check_affine(stored.affine, name)
    with _voxels(stored, name, header) as slabs:
        labels = np.empty(stored.shape[::-1], np.uint16).T
        for where, values in slabs:
            whole = np.rint(values)
            strange = values[~((np.abs(values - whole) <= _NEARLY) & (whole >= 0) & (whole <= _LARGEST_LABEL))]
            if strange.size:
                named = ", ".join(f"{value:.6g}" for value in np.unique(strange)[:6])
                raise InputError(
                    f"{name}: expected whole numbers from 0 to {_LARGEST_LABEL}, got {named}; export it again as labels"
                )
            labels[..., where] = whole
    return labels if labels.max() > 255 else labels.astype(np.uint8)


@contextmanager
def _voxels(
    stored: Stored, name: str, header: IO[bytes]
) -> Iterator[Iterator[tuple[slice, Float32[np.ndarray, "i j s"]]]]:
    """Open the voxels as an iterator over slabs.

    Raises:
        InputError: If their file cannot be read or is damaged.
    """
    try:
        with nullcontext(header) if stored.path == Path(header.name) else stored.path.open("rb") as file:
            size = stored.path.stat().st_size
            if file is not header:
                _check_what_it_is(file, stored, size, name)
            _check_size(stored, size, name)
            _skip(file, stored, size)
            yield _slabs(file, stored, name)
    except FileNotFoundError:  # its name, which may be that of a patient, is not repeated
        raise InputError(f"{name}: expected the data file that it names, got {lacking(stored.path)}") from None
    except OSError as error:
        raise InputError(f"{name}: expected a readable data file, got: {error.strerror or error}; check it") from None
    except zlib.error as error:
        raise InputError(f"{name}: expected complete compressed voxels, got: {error}; copy the file again") from None
    except MemoryError:
        raise InputError(f"{name}: expected a volume that fits in memory, got {stored.shape} voxels; crop it") from None


def beside(header: Path, data: str, name: str) -> Path:
    """Return the data file named in a header, which must lie beside or below it.

    Raises:
        InputError: If it leads elsewhere.
    """
    if climbs(data):
        raise InputError(f"{name}: expected a data file beside the header, got one elsewhere; put them together")
    return header.parent / data


def box_affine(
    directions: Float[np.ndarray, "3 3"], origin: Float[np.ndarray, "3"], to_ras: tuple[int, int, int]
) -> Float[np.ndarray, "4 4"]:
    """Return the `(4, 4)` affine from index to RAS+ mm.

    Args:
        directions: `(3, 3)`, one row per axis: the step to the next voxel, in the file's space.
        origin: `(3,)`, centre of the first voxel in that space.
        to_ras: Signs that convert the file's space to RAS+.
    """
    affine = np.eye(4)
    affine[:3, :3] = (directions * to_ras).T
    affine[:3, 3] = origin * to_ras
    return affine + 0.0


@dataclass(frozen=True)
class Placing:
    """The geometry in a header; values are None if it does not state them.

    Attributes:
        turns: `(3, 3)`, one row per axis: its direction in the file's space.
        edges_mm: `(3,)`, factors that turn the directions into steps to the next voxel.
        origin: `(3,)`, centre of the first voxel.
        to_ras: Signs that convert the file's space to RAS+.
    """

    turns: Float[np.ndarray, "3 3"] | None
    edges_mm: Float[np.ndarray, "3"] | None
    origin: Float[np.ndarray, "3"] | None
    to_ras: tuple[int, int, int] | None


def placed(said: Placing, assume_spacing: Edges | None, name: str) -> tuple[Float[np.ndarray, "4 4"], list[Notice]]:
    """Return the affine from index to RAS+ mm, with usual defaults for missing values, and notices of these.

    Axes without directions, and an unknown space, are taken to be LPS+, as in ITK.

    Args:
        said: The geometry in the header.
        assume_spacing: Voxel spacing in mm, used if the header states none.
        name: Name of the file in messages.

    Raises:
        GridError: If the spacing is unknown.
    """
    if said.edges_mm is None and assume_spacing is None:
        raise GridError(
            f"{name}: expected a voxel size, got none; give it in mm with --assume-spacing X Y Z if you know it"
        )
    edges_mm = np.array(assume_spacing) if said.edges_mm is None else said.edges_mm
    turns = np.eye(3) if said.turns is None else said.turns
    origin = np.zeros(3) if said.origin is None else said.origin
    affine = box_affine(turns * edges_mm[:, None], origin, said.to_ras or (-1, -1, 1))
    return affine, _assumed(said, tuple(edges_mm), name)


def _assumed(said: Placing, edges_mm: tuple[float, ...], name: str) -> list[Notice]:
    """Return a notice of the geometry that was assumed, if any."""
    lacking, sides = [], ""
    if said.edges_mm is None:
        lacking.append(f"voxels of {' x '.join(f'{edge:g}' for edge in edges_mm)} mm")
    if said.turns is None or said.to_ras is None:
        sides = " Left and right may be swapped: check them."
        lacking.append(
            "axes to the left, back and head" if said.turns is None else "a space to the left, back and head"
        )
    if not lacking:
        return []
    text = f"{name}: the file does not fully say where its voxels lie; {' and '.join(lacking)} were assumed.{sides}"
    return [Notice(text, "assumed geometry")]


def header_lines(stream: Any, name: str) -> Iterator[str]:
    """Yield the lines of a text header; the stream is left after the last one that was consumed.

    Raises:
        InputError: If the header is longer than `LARGEST_HEADER_BYTES`.
    """
    left = LARGEST_HEADER_BYTES
    while line := stream.readline(left + 1):
        left -= len(line)
        if left < 0:
            raise InputError(f"{name}: expected a text header, got one without an end; the file is damaged")
        yield line.rstrip(b"\r\n").decode("utf-8", "replace")


def numbers(text: str, count: int | None) -> tuple[float, ...] | None:
    """Parse `count` finite numbers, or any number of them if it is None; return None if the text has others."""
    try:
        found = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        return None
    return found if count in {None, len(found)} and all(abs(one) < 1e7 for one in found) else None


def whole_shape(text: str, name: str) -> tuple[int, int, int]:
    """Parse the shape of a volume with three axes.

    Raises:
        InputError: If there are not three axes, or one is empty.
    """
    words = text.split()
    if len(words) != 3 or not all(
        re.fullmatch(r"\d{1,10}", word, re.ASCII) and 0 < int(word) < 1 << 31 for word in words
    ):
        raise InputError(f"{name}: expected 3 axes of 1 voxel or more, got {text[:60]!r}; pass one volume")
    return (int(words[0]), int(words[1]), int(words[2]))


def _check_what_it_is(file: IO[bytes], stored: Stored, size: int, name: str) -> None:
    """Refuse a data file that is recognised as something other than voxels.

    Files that begin with text are checked for pointers and web pages, others only if they cannot hold the voxels.

    Raises:
        InputError: If it is something else.
    """
    start = file.read(START_BYTES)
    file.seek(0)
    is_text = re.fullmatch(rb"[\t\r\n -~]{9}", start[:9])
    told = called(start) if is_text or not _holds(stored, size) else None
    if told is not None and not (stored.encoding == "deflate" and start.startswith(GZIP)):
        what, do = told
        raise InputError(f"{name}: expected voxels in its data file, got {what}; {do}")


def _holds(stored: Stored, size: int) -> bool:
    """Whether a file of `size` bytes can hold the voxels."""
    after = size - (stored.offset or 0)
    voxels = stored.voxel_bytes // stored.dtype.itemsize
    return {
        "raw": after >= stored.voxel_bytes,
        "deflate": after * LARGEST_RATIO >= stored.voxel_bytes,
        "text": after + 1 >= 2 * voxels,
    }[stored.encoding]


def _check_size(stored: Stored, size: int, name: str) -> None:
    if not _holds(stored, size):
        raise InputError(
            f"{name}: expected {stored.voxel_bytes} bytes of voxels for {stored.shape}, got a file that cannot hold "
            "them; it is cut short or its header is damaged: copy it again"
        )


def _skip(file: Any, stored: Stored, size: int) -> None:
    file.seek(size - stored.voxel_bytes if stored.offset is None else stored.offset)
    for _ in range(stored.lines_skipped):
        if not file.readline():
            break  # at the end of the file: a damaged number of lines would take for ever


def _slabs(file: Any, stored: Stored, name: str) -> Iterator[tuple[slice, Float32[np.ndarray, "i j s"]]]:
    x, y, z = stored.shape
    depth = max(1, _SLAB_BYTES // (x * y * stored.dtype.itemsize))
    decompressor = zlib.decompressobj(_EITHER_HEADER)
    source = _source(file, stored.encoding, decompressor, name)
    for start in range(0, z, depth):
        stop = min(start + depth, z)
        values = source((stop - start) * x * y, stored.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused afterwards, with a message
            yield slice(start, stop), values.astype(np.float32).reshape(stop - start, y, x).T
    if stored.encoding == "deflate":
        _check_sum(file, decompressor, name)


def _source(file: Any, encoding: str, decompressor: Any, name: str) -> Callable[[int, np.dtype], np.ndarray]:
    """Return a function that reads the next voxels, given their number and type."""
    if encoding == "raw":
        return partial(_raw, file, name)
    if encoding == "deflate":
        return partial(_deflated, file, decompressor, name)
    return partial(_parsed, io.BytesIO(_numbers_of(file.read(), name).tobytes()), name)


def _raw(file: Any, name: str, count: int, dtype: np.dtype) -> np.ndarray:
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise _short(name, count * dtype.itemsize, len(data))
    return np.frombuffer(data, dtype)


def _deflated(file: Any, decompressor: Any, name: str, count: int, dtype: np.dtype) -> np.ndarray:
    out = bytearray()
    wanted = count * dtype.itemsize
    while len(out) < wanted:
        data = decompressor.unconsumed_tail or file.read(_READ_BYTES)
        piece = decompressor.decompress(data, wanted - len(out))
        if not piece and (not data or decompressor.eof):
            raise _short(name, wanted, len(out))
        out += piece
    return np.frombuffer(out, dtype)


def _check_sum(file: Any, decompressor: Any, name: str) -> None:
    # read to the end of the stream, where zlib verifies its checksum; anything after the voxels is ignored
    while not decompressor.eof:
        data = decompressor.unconsumed_tail or file.read(_READ_BYTES)
        if not data:
            raise _short(name, 1, 0)
        if decompressor.decompress(data, 1):
            return


def _parsed(values: Any, name: str, count: int, dtype: np.dtype) -> np.ndarray:
    return _raw(values, name, count, np.dtype(np.float64))


def _numbers_of(text: bytes, name: str) -> Float64[np.ndarray, "n"]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # raised by NumPy for a word that is not a number
            return np.fromstring(text.decode("ascii"), np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        raise InputError(
            f"{name}: expected voxels as numbers in text, got something else; the file is damaged"
        ) from None


def _short(name: str, wanted: int, got: int) -> InputError:
    return InputError(f"{name}: expected {wanted} more bytes of voxels, got {got}; it is cut short: copy it again")
