"""Renumbering a label map from 1 without gaps, as clients of MONAI Label need it.

It works on a stream, so that a scan of any size needs little memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

from tomoseg.errors import InputError

_CHUNK_BYTES = 1 << 20
_GZIP = 31
"""Window bits of a gzip stream in zlib."""

_NIFTI_UINT8, _NIFTI_UINT16 = 2, 512

Kind = Literal["nrrd", "nifti"]


def renumbered(
    path: Path, kind: Kind, numbers: Mapping[int, int], compressed: bool = True, wide: bool = False
) -> Iterator[bytes]:
    """Yield a label map with other values.

    Args:
        path: `.seg.nrrd` of one layer, or `.nii.gz`, of 8 bits.
        kind: Its kind.
        numbers: New value of each value.
        compressed: Whether to compress an NRRD.
        wide: Whether to write two bytes per voxel.

    Yields:
        Pieces of the file.

    Raises:
        InputError: If its voxels are not of 8 bits.
    """
    table = bytes(numbers.get(value, 0) for value in range(256))
    if kind == "nifti":
        yield from _nifti(path, table, wide)
    else:
        yield from _nrrd(path, table, compressed, wide)


def _nifti(path: Path, table: bytes, wide: bool) -> Iterator[bytes]:
    pieces = _inflated(path, 0)
    head = b""
    while len(head) < 352:
        head += next(pieces)
    start = int(_float(head[108:112]))
    while len(head) < start:
        head += next(pieces)
    _check_bytes(int.from_bytes(head[70:72], "little") == _NIFTI_UINT8)
    voxels = chain([head[start:]], pieces)
    head = head[:start]
    if wide:
        head = head[:70] + struct.pack("<hh", _NIFTI_UINT16, 16) + head[74:]
    yield from _deflated(chain([head], _changed(voxels, table, wide)))


def _changed(pieces: Iterable[bytes], table: bytes, wide: bool) -> Iterator[bytes]:
    """Yield the new values, as one byte each or two in little-endian order."""
    for piece in pieces:
        values = piece.translate(table)
        if wide:
            both = bytearray(2 * len(values))
            both[::2] = values
            values = bytes(both)
        yield values


def _nrrd(path: Path, table: bytes, compressed: bool, wide: bool) -> Iterator[bytes]:
    header, start = nrrd_header(path)
    _check_bytes("type: uint8" in header or "type: unsigned char" in header)
    _check_bytes("dimension: 3" in header)
    is_packed = "encoding: gzip" in header
    yield ("\n".join(_header_lines(header, compressed, wide)) + "\n\n").encode()
    changed = _changed((_inflated if is_packed else _plain)(path, start), table, wide)
    yield from _deflated(changed) if compressed else changed


def _header_lines(lines: Iterable[str], compressed: bool, wide: bool) -> Iterator[str]:
    """Yield header lines without those of 3D Slicer's segmentations, with the new encoding and type."""
    for line in lines:
        name = line.split(":")[0]
        if name == "encoding":
            yield "encoding: gzip" if compressed else "encoding: raw"
        elif name == "type" and wide:
            yield "type: uint16"
        elif name != "endian" and not line.startswith("Segment"):
            yield line
    if wide:
        yield "endian: little"


def _deflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def nrrd_header(path: Path) -> tuple[list[str], int]:
    """Return the lines of an NRRD's header, and the offset of its data.

    Args:
        path: An NRRD file with attached header.
    """
    with path.open("rb") as stream:
        lines = []
        while line := stream.readline():
            if line == b"\n":
                break
            lines.append(line.decode("utf-8", "replace").rstrip("\n"))
        return lines, stream.tell()


def _plain(path: Path, start: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        while piece := stream.read(_CHUNK_BYTES):
            yield piece


def _inflated(path: Path, start: int) -> Iterator[bytes]:
    """Yield the content of a gzip stream of any number of members."""
    unpacker = zlib.decompressobj(_GZIP)
    for packed in _plain(path, start):
        rest = packed
        while rest:
            yield unpacker.decompress(rest)
            rest = unpacker.unused_data
            if rest:
                unpacker = zlib.decompressobj(_GZIP)
    yield unpacker.flush()


def _float(data: bytes) -> float:
    return float(struct.unpack("<f", data)[0])


def _check_bytes(holds: bool) -> None:
    """Refuse voxels that are not of 8 bits.

    Raises:
        InputError: If so.
    """
    if not holds:
        text = "expected a label map of at most 255 structures in one layer, got another; ask for fewer structures"
        raise InputError(text)
