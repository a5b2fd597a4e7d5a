"""Fast writing of gzip files that are mostly zeros.

A mask is empty in most slices of a scan. After a full flush, deflate allows a precompressed block at any place, so a
long run of zeros is written as repetitions of one block. The file is one ordinary gzip member.

Source: RFC 1951 and 1952.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from isal import isal_zlib

LEVEL = 1
"""isal's levels are 0 to 3; 1 makes files a fifth smaller than 0 in the same time, 2 and 3 gain little more."""

_BLOCK_BYTES = 1 << 18
_RAW_DEFLATE = -15
_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"  # no name, no time: the same data give the same file
_zlib: Any = isal_zlib


class ZerosGzip:
    """Writer of a gzip member to a stream.

    Args:
        stream: A binary stream, at the start of the member.

    Example:
        >>> import gzip, io
        >>> out = io.BytesIO()
        >>> with ZerosGzip(out) as member:
        ...     member.write(b"some")
        ...     member.write_zeros(1_000_000)
        >>> len(gzip.decompress(out.getvalue())), len(out.getvalue()) < 10_000
        (1000004, True)
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._deflate = _new_deflate()
        self._crc = 0
        self._length = 0
        stream.write(_HEADER)

    def __enter__(self) -> ZerosGzip:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()

    def write(self, data: Any) -> None:
        """Compress some bytes."""
        self._crc = _zlib.crc32(data, self._crc)
        self._length += len(data)
        self._stream.write(self._deflate.compress(data))

    def write_zeros(self, count: int) -> None:
        """Write a number of zero bytes."""
        blocks, rest = divmod(count, _BLOCK_BYTES)
        if blocks:
            block, crc = _block_of_zeros()
            self._stream.write(self._deflate.flush(_zlib.Z_FULL_FLUSH))
            for _ in range(blocks):
                self._stream.write(block)
                self._crc = _zlib.crc32_combine(self._crc, crc, _BLOCK_BYTES)
            self._length += blocks * _BLOCK_BYTES
        self.write(bytes(rest))

    def close(self) -> None:
        """End the member with its checksum; the stream stays open."""
        self._stream.write(self._deflate.flush(_zlib.Z_FINISH))
        self._stream.write(struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))


def _new_deflate() -> Any:
    return _zlib.compressobj(LEVEL, _zlib.DEFLATED, _RAW_DEFLATE)


@cache
def _block_of_zeros() -> tuple[bytes, int]:
    """Return a compressed block of zeros that is valid at any place after a full flush, and the zeros' checksum."""
    deflate = _new_deflate()
    zeros = bytes(_BLOCK_BYTES)
    return deflate.compress(zeros) + deflate.flush(_zlib.Z_FULL_FLUSH), _zlib.crc32(zeros)
