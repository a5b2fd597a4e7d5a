"""Encoding of RLE Lossless frames.

pydicom's encoder plugins are not used: GDCM's aborts the process on some images, and pylibjpeg-rle (2.2) takes 6.0 ms
for a label map of 512 x 512 where this takes 0.5 ms, and its results are 3 % larger.

Source: DICOM PS3.5, annex G.
"""

from __future__ import annotations

import struct

import numpy as np
from jaxtyping import UInt8, UInt16

from tomoseg.kernels import kernel

_HEADER_WORDS = 16
_LONGEST = 128


def rle_frame(values: UInt8[np.ndarray, "r c"] | UInt16[np.ndarray, "r c"]) -> bytes:
    """Encode one image as an RLE frame.

    Args:
        values: `(rows, columns)`; the high bytes of uint16 are the first segment.

    Example:
        >>> rle_frame(np.full((1, 100), 7, np.uint8))[64:].hex()
        '9d07'
    """
    rows, columns = values.shape
    pixels = np.ascontiguousarray(values).view(np.uint8).reshape(rows, columns, values.itemsize)
    segments = []
    for byte in reversed(range(values.itemsize)):  # little endian: the last is the highest
        room = np.empty(rows * (columns + columns // _LONGEST + 2), np.uint8)
        packed = room[: _pack(np.ascontiguousarray(pixels[:, :, byte]), room)].tobytes()
        segments.append(packed + b"\0" * (len(packed) % 2))
    starts = [4 * _HEADER_WORDS]
    for segment in segments[:-1]:
        starts.append(starts[-1] + len(segment))
    words = [len(segments), *starts] + [0] * (_HEADER_WORDS - 1 - len(starts))
    return struct.pack(f"<{_HEADER_WORDS}I", *words) + b"".join(segments)


@kernel()
def _pack(pixels: UInt8[np.ndarray, "r c"], out: UInt8[np.ndarray, "n"]) -> int:
    """Encode bytes into `out` and return the number of bytes used."""
    rows, columns = pixels.shape
    used = 0
    for row in range(rows):
        line = pixels[row]
        place = 0
        while place < columns:
            run = _run(line, place)
            if run > 1:
                out[used] = 257 - run
                out[used + 1] = line[place]
                used += 2
                place += run
                continue
            end = place + 1  # literal bytes, up to a run of three or more
            while end < columns and end - place < _LONGEST and _run(line, end) < 3:
                end += 1
            out[used] = end - place - 1
            out[used + 1 : used + 1 + end - place] = line[place:end]
            used += 1 + end - place
            place = end
    return used


@kernel()
def _run(line: UInt8[np.ndarray, "c"], place: int) -> int:
    """Return the length of the run of equal bytes at a place, up to 128."""
    end = place + 1
    while end < len(line) and end - place < _LONGEST and line[end] == line[place]:
        end += 1
    return end - place
