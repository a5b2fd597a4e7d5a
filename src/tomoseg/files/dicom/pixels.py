"""Decoding of the pixels of DICOM files, and conversion to HU.

pydicom reads uncompressed, deflated and RLE pixels; GDCM decodes JPEG and JPEG-LS, OpenJPEG JPEG 2000.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, Shaped
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from scipy import ndimage

from tomoseg.errors import InputError
from tomoseg.files.dicom.headers import ImageHeader, quietly, read_dataset
from tomoseg.files.stack import AIR_HU
from tomoseg.notices import Notice

UNCOMPRESSED = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
BY_PYDICOM = UNCOMPRESSED | {RLELossless}
BY_GDCM = frozenset({JPEGBaseline8Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless})
BY_OPENJPEG = frozenset({JPEG2000, JPEG2000Lossless})
"""Decoded by OpenJPEG because GDCM aborts the process if the header of such pixels is damaged."""
LOSSY = frozenset({JPEGBaseline8Bit, JPEGLSNearLossless, JPEG2000})

OVERSHOOT = 1 / 16
"""Share by which lossy decoding may exceed the range of stored values, and is clipped; more is from unused bits."""

_SOC_SIZ, _SIZ = b"\xff\x4f\xff\x51", struct.Struct(">HH8I")
"""Start of a JPEG 2000 codestream, and the layout of the size after it."""

SMALLEST_FRAME_BYTES = 32
"""Minimum bytes of a compressed image."""

_INT16 = np.iinfo(np.int16)

_MAKERS = {
    "1.2.840.113619": "GE",
    "1.3.46.670589": "Philips",
    "1.3.12.2.1107": "Siemens",
    "1.2.392.200036": "Canon or Fujifilm",
}
"""Roots of the UIDs of manufacturers' private transfer syntaxes."""

_PHILIPS_BLOCK = 0x07A10010
"""Tag of the owner of the private group that holds pixels in Philips' own compression."""

REAL_HU = -950
"""HU above which padding may also be tissue or metal."""

_PADDING_WITHIN = (
    "The padding value also occurs inside the patient: it was read as air where it touches the image border, "
    "and as an ordinary value elsewhere. Check that the patient has no holes."
)
_PADDING_OF_ALL = (
    "The range of padding values covers every pixel of a slice, tissue included: it was ignored. Check "
    "that air is near -1000 HU around the patient."
)

Taker = Callable[[Any, ImageHeader], None]
"""Called with an open file and one of its images, to keep other values that are needed from it."""


def decode(
    images: Sequence[ImageHeader],
    name: str,
    take: Taker = lambda stream, image: None,
) -> Iterator[tuple[ImageHeader, Int16[np.ndarray, "r c"], tuple[Notice, ...]]]:
    """Decode images of one file.

    Args:
        images: Headers of the images, in the order of their frames.
        name: Name of the file in messages.
        take: Called with the open file, at its start, and the first image, to keep other values; it must leave the
            stream at its start.

    Yields:
        Each header with its HU, `(rows, columns)`, and notices.

    Raises:
        InputError: If it cannot be decoded.
    """
    with quietly(name), images[0].entry.open() as stream:
        take(stream, images[0])
        dataset = read_dataset(stream, images[0].entry.size, pixels=True)
        syntax = check_pixels(dataset, name)
        for image in images:
            columns, rows = image.shape
            if syntax in BY_OPENJPEG:
                _check_codestream(
                    get_frame(dataset.PixelData, image.frame or 0, number_of_frames=_frames(dataset)), image.shape, name
                )
            stored = pixel_array(
                dataset, index=image.frame or 0, raw=True, decoding_plugin=plugin_for(syntax), correct_unused_bits=False
            )
            if stored.shape != (rows, columns):
                raise InputError(f"{name}: expected {rows} rows of {columns} pixels, got {stored.shape}; copy it again")
            yield image, *_hu(_used_bits(stored, dataset, syntax in LOSSY), image, _padding(dataset), name)


def plugin_for(syntax: str) -> str:
    """Return the name of pydicom's decoding plugin for a transfer syntax; empty if none is needed."""
    by_library = ((BY_GDCM, "gdcm"), (BY_OPENJPEG, "pylibjpeg"), ({RLELossless}, "pydicom"))
    return next((plugin for kinds, plugin in by_library if syntax in kinds), "")


def check_pixels(dataset: Dataset, name: str) -> str:
    """Check that pixels can be decoded, and return their transfer syntax.

    Raises:
        InputError: If they cannot, or if there are fewer bytes than the header claims.
    """
    syntax = _syntax(dataset)
    if syntax not in BY_PYDICOM | BY_GDCM | BY_OPENJPEG:
        raise InputError(
            f"{name}: expected uncompressed, RLE, lossless JPEG, JPEG-LS or JPEG 2000 pixels, got "
            f"{_called(syntax)}; export the series uncompressed"
        )
    if "PixelData" not in dataset and _PHILIPS_BLOCK in dataset:
        raise InputError(
            f"{name}: expected pixels, got a file whose pixels are in Philips' private compression; export the series "
            "uncompressed from the scanner or the PACS"
        )
    if "PixelData" not in dataset:
        raise InputError(f"{name}: expected pixels, got a file without any; export it again")
    needed = _least_bytes(dataset, syntax)
    if len(dataset.PixelData) < needed:
        raise InputError(
            f"{name}: expected {needed} bytes of pixels or more, got {len(dataset.PixelData)}; it is cut "
            "short: copy it again"
        )
    return str(syntax)


def _called(syntax: UID) -> str:
    """Return the name of an unsupported transfer syntax, or its manufacturer if it is a private one."""
    if syntax.is_transfer_syntax:
        return str(syntax.name)
    maker = next((maker for root, maker in _MAKERS.items() if syntax.startswith(f"{root}.")), None)
    return "an unknown transfer syntax" if maker is None else f"a private compression of {maker}"


def _syntax(dataset: Dataset) -> UID:
    """Return the transfer syntax, which is inferred and added for a file without meta information."""
    meta = getattr(dataset, "file_meta", FileMetaDataset())
    syntax = meta.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = syntax
        dataset.file_meta = meta
    return syntax


def _least_bytes(dataset: Dataset, syntax: UID) -> int:
    """Return the minimum number of bytes of the pixels that the header claims."""
    if syntax not in UNCOMPRESSED:
        return SMALLEST_FRAME_BYTES * _frames(dataset)
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel") or 1) * _frames(dataset)
    return pixels * int(dataset.BitsAllocated) // 8


def _frames(dataset: Dataset) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _check_codestream(frame: bytes, shape: tuple[int, int], name: str) -> None:
    """Check that the size in a JPEG 2000 codestream is that in the DICOM header, before memory is allocated.

    Args:
        frame: The codestream.
        shape: Columns and rows in the DICOM header.
        name: Name of the file in the message.

    Raises:
        InputError: If it is not.

    Source: ITU-T T.800, annex A.5.1: after SOC the marker SIZ with its length, capabilities, extents, offsets, and the
        tiles' extents and offsets.
    """
    if not frame.startswith(_SOC_SIZ) or len(frame) < len(_SOC_SIZ) + _SIZ.size:
        return  # within a JP2 box, or no JPEG 2000 at all, which the decoder reports
    _, _, *numbers = _SIZ.unpack_from(frame, len(_SOC_SIZ))
    ends, starts, tiles, tile_starts = (tuple(numbers[axis : axis + 2]) for axis in range(0, 8, 2))
    found = tuple(end - start for end, start in zip(ends, starts, strict=True))
    if found != shape or min(tiles) < 1 or any(t > s for t, s in zip(tile_starts, starts, strict=True)):
        raise InputError(
            f"{name}: expected a JPEG 2000 picture of {shape[1]} rows of {shape[0]} pixels, got one of another size "
            "by its own header; it is damaged: copy it again"
        )


def _used_bits(stored: Shaped[np.ndarray, "r c"], dataset: Dataset, lossy: bool) -> Shaped[np.ndarray, "r c"]:
    """Clear the unused bits of pixels, whichever decoder they come from.

    Unused are the bits above the high bit, which may hold overlays or lack the sign extension, and those below the
    stored ones.
    """
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    bits = _bits(dataset, 8 * stored.itemsize)
    if bits is None:
        return stored
    used, high = bits
    if lossy and high + 1 == used:
        stored = _without_overshoot(stored, used)
    return _signed_on(stored, used, high)


def _bits(dataset: Dataset, allocated: int) -> tuple[int, int] | None:
    """Return the number of used bits of a pixel and the highest of them; None if all are, or the header is wrong."""
    used = int(dataset.BitsStored)
    high = int(dataset.get("HighBit", used - 1))
    return None if used == allocated or not 0 < used <= high + 1 <= allocated else (used, high)


def _signed_on(values: Any, used: int, high: int) -> Any:
    """Extract the used bits of stored values, with sign extension for signed types."""
    allocated = 8 * values.itemsize
    return (values << (allocated - high - 1)) >> (allocated - used)


def _without_overshoot(stored: Shaped[np.ndarray, "r c"], used: int) -> Shaped[np.ndarray, "r c"]:
    """Clip values to the range of stored values, unless some exceed it by more than `OVERSHOOT`."""
    lowest = -(1 << (used - 1)) if stored.dtype.kind == "i" else 0
    highest, margin = lowest + (1 << used) - 1, int(OVERSHOOT * (1 << used))
    if int(stored.min()) < lowest - margin or int(stored.max()) > highest + margin:
        return stored
    return stored.clip(lowest, highest)


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Return the range of stored values that are padding; None if there is none."""
    first = dataset.get("PixelPaddingValue")
    last = dataset.get("PixelPaddingRangeLimit", first)
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    allocated = int(dataset.BitsAllocated)
    half = 1 << (allocated - 1)
    lowest = -half if int(dataset.get("PixelRepresentation") or 0) == 1 else 0
    first, last = ((value - lowest) % (2 * half) + lowest for value in (first, last))  # some files have the wrong sign
    return _in_used_bits(min(first, last), max(first, last), dataset)


def _in_used_bits(first: int, last: int, dataset: Dataset) -> tuple[int, int]:
    """Clear the unused bits of a padding range, which some files set."""
    allocated = int(dataset.BitsAllocated)
    bits = _bits(dataset, allocated)
    if bits is None or allocated not in {8, 16, 32}:
        return first, last
    kind = np.dtype(f"{'i' if first < 0 or int(dataset.get('PixelRepresentation') or 0) else 'u'}{allocated // 8}")
    low, high = (int(one) for one in _signed_on(np.array([first, last], kind), *bits))
    return (low, high) if high - low == last - first else (first, last)


def _hu(
    stored: Shaped[np.ndarray, "r c"], image: ImageHeader, padding: tuple[int, int] | None, name: str
) -> tuple[Int16[np.ndarray, "r c"], tuple[Notice, ...]]:
    slope = 1.0 if image.slope is None else image.slope
    intercept = 0.0 if image.intercept is None else image.intercept
    if slope == 0:
        raise InputError(f"{name}: expected a rescale slope other than 0, got 0; export the series again")
    noticed = []
    with np.errstate(over="ignore"):
        values: Float32[np.ndarray, "r c"] = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    np.rint(values, out=values)
    if padding is not None:
        noticed += _fill(values, (stored >= padding[0]) & (stored <= padding[1]))
    if values.min() < _INT16.min or values.max() > _INT16.max:
        text = (
            f"Values outside {_INT16.min}..{_INT16.max} HU were clipped. Check that the scan is in HU and its "
            "rescale slope is right."
        )
        noticed.append(Notice(text, "clipped"))
        np.clip(values, _INT16.min, _INT16.max, out=values)
    return values.astype(np.int16), tuple(noticed)


def _fill(values: Float32[np.ndarray, "r c"], empty: Bool[np.ndarray, "r c"]) -> list[Notice]:
    """Replace padding by air."""
    if empty.all() and values.max() > max(REAL_HU, float(values.min())):
        return [Notice(_PADDING_OF_ALL, "padding")]
    if empty.all():
        values[:] = AIR_HU
        return [Notice("Some slices contain only padding. Check that the export is complete.", "blank slices")]
    if not (values[empty] > REAL_HU).any():
        values[empty] = AIR_HU
        return []
    outside = _from_border(empty)
    values[outside] = AIR_HU
    return [] if np.array_equal(outside, empty) else [Notice(_PADDING_WITHIN, "padding")]


def _from_border(empty: Bool[np.ndarray, "r c"]) -> Bool[np.ndarray, "r c"]:
    """Return the parts of a mask that are connected to the border of the image."""
    border = np.zeros_like(empty)
    border[[0, -1]], border[:, [0, -1]] = empty[[0, -1]], empty[:, [0, -1]]
    reached: Bool[np.ndarray, "r c"] = ndimage.binary_propagation(border, mask=empty)
    return reached
