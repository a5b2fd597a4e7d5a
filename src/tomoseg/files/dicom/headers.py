"""Headers of DICOM images: one record per image, or per frame of a multi-frame file.

Only values that place and scale pixels, and that distinguish series, are read; names and dates are not. Identifiers of
patients and series are hashed at once and never shown.
"""

from __future__ import annotations

import hashlib
import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float
from pydicom.dataset import Dataset, FileDataset

from tomoseg.errors import InputError, TomosegError
from tomoseg.files.dicom.entries import Entry, inflated
from tomoseg.files.dicom.traits import TAGS, Traits, traits_of
from tomoseg.files.source import START_BYTES, starts_dicom
from tomoseg.volume import SHEAR_TOLERANCE

LARGEST_SIDE = 8192
"""Maximum rows or columns of an image; CT has 512, sometimes 1024 or 2048."""

MOST_FRAMES = 100_000

ALWAYS_ALLOWED_FRAMES, SMALLEST_FRAME_BYTES = 1000, 8
"""Number of frames that any file may have, and the minimum bytes per frame for more, even compressed."""

LARGEST_MM = 1e7
"""Maximum plausible number in mm; larger ones are damage."""

INFLATED_RATIO, INFLATED_BYTES = 200, 64 << 20
"""Maximum ratio to which a deflated file may unpack, and bytes that it may unpack to in any case."""

_ALWAYS_READ_BYTES = 1 << 16

_CT_CLASSES = {f"1.2.840.10008.5.1.4.1.1.2{kind}" for kind in ("", ".1", ".2")}  # classic, enhanced, converted
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1\0"
_PLAIN_START = bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(_EXPLICIT_LITTLE)) + _EXPLICIT_LITTLE
_HEADER_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "ImageType", "Modality", "PatientID", "PatientName", "StudyInstanceUID",
    "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "FrameOfReferenceUID",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PixelSpacing",
    "SpacingBetweenSlices", "SliceLocationVector", "FrameTime", "SliceThickness", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept",
    "RescaleType", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *TAGS,
)  # fmt: skip


@dataclass(frozen=True)
class ImageHeader:
    """The header of one image, or one frame. Values are None if the file does not state them.

    Attributes:
        entry: Its file.
        frame: Number of the frame, from 0; None in a file of one image.
        sop_class_uid: SOP Class UID.
        sop_instance_uid: SOP Instance UID.
        modality: Modality, such as CT.
        image_type: Image type, such as ORIGINAL, PRIMARY, AXIAL.
        patient: Hash of the patient's ID and name.
        study: Hash of the Study Instance UID.
        series: Hash of the series' UID and number.
        space: Hash of the Frame of Reference UID.
        series_number: Number of the series.
        traits: Values that may distinguish stacks in one series.
        number: Number of the image in its series.
        shape: Columns and rows.
        colours: Samples per pixel.
        pixel_mm: Spacing of columns and of rows in mm.
        orientation: `(2, 3)`, RAS+ unit vectors along rows and along columns.
        position_mm: `(3,)`, position of the first pixel in RAS+ mm.
        thickness_mm: Slice thickness in mm.
        slope: Rescale slope.
        intercept: Rescale intercept.
        unit: Rescale type: HU, or empty.
        is_place_inferred: Whether the position is inferred from that of the first frame.
    """

    entry: Entry
    frame: int | None
    sop_class_uid: str
    sop_instance_uid: str
    modality: str
    image_type: tuple[str, ...]
    patient: str
    study: str
    series: str
    space: str
    series_number: int | None
    traits: Traits
    number: int | None
    shape: tuple[int, int]
    colours: int
    pixel_mm: tuple[float, float] | None
    orientation: Float[np.ndarray, "2 3"] | None
    position_mm: Float[np.ndarray, "3"] | None
    thickness_mm: float | None
    slope: float | None
    intercept: float | None
    unit: str
    is_place_inferred: bool = False


@contextmanager
def quietly(name: str) -> Iterator[None]:
    """Turn errors of pydicom and decoders into an `InputError` without contents of the file; silence their warnings.

    Args:
        name: Name of the file in the message.

    Raises:
        InputError: If the file is damaged.
        TomosegError: If the block raises one; it is passed on.
    """
    try:
        with without_pydicom_warnings():
            yield
    except TomosegError:
        raise
    except Exception as error:  # a damaged file makes pydicom raise nearly anything
        raise InputError(
            f"{name}: expected a whole DICOM file, got one that cannot be read ({type(error).__name__}); copy it again"
        ) from None


@contextmanager
def without_pydicom_warnings() -> Iterator[None]:
    """Let pydicom read and write invalid values, as scanners do, without a warning."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_dataset(stream: Any, size: int, pixels: bool, tags: Sequence[str] = _HEADER_TAGS) -> FileDataset:
    """Read a DICOM file, or only some elements of its header.

    Args:
        stream: The file, at its start.
        size: Its size in bytes.
        pixels: Whether to read the whole file with its pixels.
        tags: Keywords of the elements to read otherwise.

    Raises:
        InputError: If it is deflated and would unpack to more than a scan.
    """
    start = stream.read(4096)
    stream.seek(0)
    stream = _plain(stream.read(), size) if _DEFLATED in start else _Within(stream, size)
    if pixels:
        return pydicom.dcmread(stream, force=True)
    return pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(tags))


class _Within:
    """A stream that limits reads to the bytes that are left.

    Otherwise a damaged length of an element would allocate up to 4 GiB before anything is read.
    """

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._size = stream, size
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        """Read up to `count` bytes."""
        if not 0 <= count <= _ALWAYS_READ_BYTES:
            left = max(self._size - self.tell(), 0)
            count = min(count, left) if count >= 0 else left
        data: bytes = self._stream.read(count)
        return data


def _plain(data: bytes, size: int) -> Any:
    """Turn a deflated file into an explicit little-endian one, with a limit on its size, which pydicom lacks.

    Raises:
        InputError: If it is damaged, or would unpack to more than a scan.
    """
    if data[128:138] != b"DICM\x02\0\0\0UL":
        raise InputError("expected the length of the file's header, got none; copy the file again")
    end = 144 + int.from_bytes(data[140:144], "little")
    rest = inflated(data[end:], max(INFLATED_BYTES, INFLATED_RATIO * size))
    return type(rest)(_PLAIN_START + rest.getbuffer())


def images_in(stream: Any, entry: Entry, name: str) -> tuple[ImageHeader, ...] | None:
    """Read the headers of the images in a file; None if it is not DICOM.

    Args:
        stream: The file, at its start.
        entry: The file's entry.
        name: Name of the file in messages.

    Raises:
        InputError: If it is damaged, or claims a size that no CT has.
    """
    with quietly(name):
        if not starts_dicom(stream.read(START_BYTES)):
            return None
        stream.seek(0)
        dataset = read_dataset(stream, entry.size, pixels=False)
        found = tuple(headers_of(dataset, entry))
        if not found and _text(dataset.file_meta, "MediaStorageSOPClassUID") in _CT_CLASSES:
            raise InputError(f"{name}: expected a CT image, got a file that ends too early; copy it again")
        return found


def headers_of(dataset: Dataset, entry: Entry) -> list[ImageHeader]:
    """Return the headers of the images in a file; empty if it holds no pixels.

    Raises:
        InputError: If it claims a size that no CT has.
    """
    rows, columns = _whole(dataset, "Rows"), _whole(dataset, "Columns")
    if not rows or not columns:
        return []
    frames = _whole(dataset, "NumberOfFrames") or 1
    _check_size(columns, rows, frames, entry)
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0)
    if shared is None and "NumberOfFrames" not in dataset:
        return [_header(_Said(dataset, (dataset,), None), entry, (columns, rows))]
    if shared is None and "PerFrameFunctionalGroupsSequence" not in dataset:
        return _classic(dataset, frames, entry, (columns, rows))
    return _enhanced(dataset, frames, entry, (columns, rows))


def _enhanced(dataset: Dataset, frames: int, entry: Entry, shape: tuple[int, int]) -> list[ImageHeader]:
    """Return the headers of the frames of a file with functional groups."""
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0)
    whole = dataset if frames == 1 else None
    said = (
        _Said(dataset, (_item(dataset, "PerFrameFunctionalGroupsSequence", frame), shared, whole), frame)
        for frame in range(frames)
    )
    return [_header(of_frame, entry, shape) for of_frame in said]


def _classic(dataset: Dataset, frames: int, entry: Entry, shape: tuple[int, int]) -> list[ImageHeader]:
    """Return the headers of the frames of a file without functional groups, which states the first position only.

    Frames are taken to follow one another along the normal, by their offsets, the spacing between slices, or the slice
    thickness. Frames at one position, such as times, and frames without a spacing get no position.
    """
    first = _header(_Said(dataset, (dataset,), 0), entry, shape)
    if frames == 1:
        return [first]
    images = [replace(first, frame=frame, number=frame, position_mm=None) for frame in range(frames)]
    offsets = _offsets_mm(dataset, frames)
    if first.position_mm is None or first.orientation is None or offsets is None:
        return images
    normal = np.cross(first.orientation[0], first.orientation[1])
    places = [first.position_mm + (offset - offsets[0]) * normal for offset in offsets]
    return [
        replace(image, position_mm=place, is_place_inferred=True) for image, place in zip(images, places, strict=True)
    ]


def _offsets_mm(dataset: Dataset, frames: int) -> tuple[float, ...] | None:
    """Return the offsets of frames along the normal; None if they are unknown."""
    offsets = _numbers(_get(dataset, "SliceLocationVector"), frames)
    if offsets is not None or _get(dataset, "FrameTime") is not None:
        return offsets
    gap = _numbers(_get(dataset, "SpacingBetweenSlices"), 1) or _numbers(_get(dataset, "SliceThickness"), 1)
    return tuple(frame * gap[0] for frame in range(frames)) if gap and gap[0] else None


def _check_size(columns: int, rows: int, frames: int, entry: Entry) -> None:
    most_frames = min(MOST_FRAMES, max(ALWAYS_ALLOWED_FRAMES, entry.size // SMALLEST_FRAME_BYTES))
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE and 0 < frames <= most_frames):
        raise InputError(
            f"expected images of up to {LARGEST_SIDE} x {LARGEST_SIDE}, got {frames} of {columns} x {rows}; "
            "the header is damaged"
        )


@dataclass(frozen=True)
class _Said:
    """Lookup of the values of one image in a file.

    Attributes:
        dataset: The file.
        groups: Datasets in which values are looked up, in order: the file if it has one image, otherwise the
            functional groups of the frame and the shared ones.
        frame: Number of the frame, from 0; None in a file of one image.
    """

    dataset: Dataset
    groups: tuple[Dataset | None, ...]
    frame: int | None

    def value(self, keyword: str, sequence: str) -> Any:
        """Return the first value in the groups, within the sequence in which the standard puts it; None without one."""
        for group in self.groups:
            inner = group if group is None or group is self.dataset else _item(group, sequence, 0)
            value = None if inner is None else _get(inner, keyword)
            if value is not None:
                return value
        # some writers store one scale for all frames at the top level, as in single images
        return _get(self.dataset, keyword) if sequence == _SCALE else None

    def number(self, keyword: str, sequence: str) -> float | None:
        """Return a single finite number, or None."""
        numbers = _numbers(self.value(keyword, sequence), 1)
        return numbers[0] if numbers else None

    def image_type(self) -> tuple[str, ...]:
        """Return the image type, such as ORIGINAL, PRIMARY, AXIAL."""
        return _texts(self.value("FrameType", "CTImageFrameTypeSequence") or _get(self.dataset, "ImageType"))

    def look_up(self, sequence: str, keyword: str) -> Any:
        """Return a value in a sequence of the frame's groups, or in the file if `sequence` is empty; else None."""
        if not sequence:
            return _get(self.dataset, keyword)
        groups = (_item(group, sequence, 0) for group in self.groups if group is not None)
        return next((_get(group, keyword) for group in groups if group is not None), None)

    def pixel_mm(self) -> tuple[float, float] | None:
        """Return the spacing of columns and of rows in mm."""
        rows_columns = _numbers(self.value("PixelSpacing", "PixelMeasuresSequence"), 2)
        return (rows_columns[1], rows_columns[0]) if rows_columns and min(rows_columns) > 0 else None

    def thickness_mm(self) -> float | None:
        """Return the slice thickness in mm, if it is above 0."""
        thickness = self.number("SliceThickness", "PixelMeasuresSequence")
        return thickness if thickness and thickness > 0 else None


_SCALE = "PixelValueTransformationSequence"


def _header(said: _Said, entry: Entry, shape: tuple[int, int]) -> ImageHeader:
    dataset = said.dataset
    return ImageHeader(
        entry=entry,
        frame=said.frame,
        sop_class_uid=_text(dataset, "SOPClassUID"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        modality=_text(dataset, "Modality").upper(),
        image_type=said.image_type(),
        patient=_hash(dataset, ("PatientID", "PatientName")),
        study=_hash(dataset, ("StudyInstanceUID",)),
        series=_hash(dataset, ("SeriesInstanceUID", "SeriesNumber")),
        space=_hash(dataset, ("FrameOfReferenceUID",)),
        series_number=_whole(dataset, "SeriesNumber"),
        traits=traits_of(said.look_up),
        number=_whole(dataset, "InstanceNumber") if said.frame is None else said.frame,
        shape=shape,
        colours=_whole(dataset, "SamplesPerPixel") or 1,
        pixel_mm=said.pixel_mm(),
        orientation=_orientation(_numbers(said.value("ImageOrientationPatient", "PlaneOrientationSequence"), 6)),
        position_mm=_position(_numbers(said.value("ImagePositionPatient", "PlanePositionSequence"), 3)),
        thickness_mm=said.thickness_mm(),
        slope=said.number("RescaleSlope", _SCALE),
        intercept=said.number("RescaleIntercept", _SCALE),
        unit=str(said.value("RescaleType", _SCALE) or "").strip().upper(),
    )


def _get(dataset: Dataset, keyword: str) -> Any:
    """Return a value, or None if it is missing or malformed: one bad element must not make a file unreadable."""
    try:
        return dataset.get(keyword)
    except Exception:  # a malformed value makes pydicom raise nearly anything
        return None


def _item(dataset: Dataset, sequence: str, number: int) -> Dataset | None:
    items = _get(dataset, sequence)
    return items[number] if isinstance(items, pydicom.Sequence) and number < len(items) else None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return the finite numbers of a value, or None if it does not have `count` of them."""
    values = value if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]
    try:
        numbers = tuple(float(one) for one in values)
    except (TypeError, ValueError, OverflowError):
        return None
    sound = len(numbers) == count and all(math.isfinite(one) and abs(one) < LARGEST_MM for one in numbers)
    return numbers if sound else None


def _orientation(numbers: tuple[float, ...] | None) -> Float[np.ndarray, "2 3"] | None:
    if numbers is None:
        return None
    vectors = np.array(numbers).reshape(2, 3) * (-1, -1, 1)
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1).max() > 0.01:
        return None
    vectors /= lengths[:, None]
    if abs(vectors[0] @ vectors[1]) > SHEAR_TOLERANCE:
        return None
    vectors[1] -= (vectors[0] @ vectors[1]) * vectors[0]  # rounding in the file
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1)[:, None] + 0.0)


def _position(numbers: tuple[float, ...] | None) -> Float[np.ndarray, "3"] | None:
    return None if numbers is None else np.array(numbers) * (-1.0, -1.0, 1.0) + 0.0


def _whole(dataset: Dataset, keyword: str) -> int | None:
    try:
        return int(_get(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return None


def _text(dataset: Dataset, keyword: str) -> str:
    value = _get(dataset, keyword)
    return "" if value is None else str(value).strip()


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]
    return tuple(str(one).strip().upper() for one in values if one is not None)


def _hash(dataset: Dataset, keywords: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(_text(dataset, keyword) for keyword in keywords).encode()).hexdigest()
