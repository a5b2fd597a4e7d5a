"""What a DICOM file says about its images: one record an image, or a frame.

Only what places and scales pixels is read, and what tells series apart; names and dates are not. Patients and
series are told apart by their identifiers, which are hashed at once and never shown.
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
"""Rows or columns of an image; CT has 512, at times 1024 or 2048."""

MOST_FRAMES = 100_000

ALWAYS_ALLOWED_FRAMES, SMALLEST_FRAME_BYTES = 1000, 8
"""More frames need a file of so many bytes each, deflated at that: they cost time before pixels are looked for."""

LARGEST_MM = 1e7
"""No slice lies ten kilometres away; larger numbers are damage."""

INFLATED_RATIO, INFLATED_BYTES = 200, 64 << 20
"""A deflated file may unpack to so many times its size, and to so many bytes in any case."""

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
    """One image, or one frame of several.

    Attributes:
        entry: Its file.
        frame: Its number from 0, in a file with several; None in a file of one image.
        sop_class_uid: As in the file.
        sop_instance_uid: As in the file.
        modality: CT, or what else.
        image_type: Such as ORIGINAL, PRIMARY, AXIAL.
        patient: A hash that differs from patient to patient.
        study: A hash that differs from study to study.
        series: A hash that differs from series to series.
        space: A hash that differs between frames of reference.
        series_number: As in the file, or None.
        traits: What may tell stacks in one series apart.
        number: The image's number in its series, or None.
        shape: Columns and rows.
        colours: Samples a pixel.
        pixel_mm: Distance of columns, and of rows; None where it is not given.
        orientation: `(2, 3)`: across and down, RAS+ unit vectors; None where it is not given.
        position_mm: `(3,)` RAS+; None where it is not given.
        thickness_mm: None where it is not given.
        slope: Multiplies stored values; None where it is not given.
        intercept: Is added after that; None where it is not given.
        unit: The rescale type: HU, or empty.
        is_place_inferred: Whether the file gives the place of its first frame alone.
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
    """Turn whatever pydicom or a decoder raises into an `InputError` without what the file says; hush its warnings.

    Args:
        name: What to call the file in the message.

    Raises:
        InputError: If the file is damaged.
        TomosegError: If one of ours was raised, as it is.
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
    """Let pydicom take and write values that break the standard's rules, as scanners do, without a warning."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_dataset(stream: Any, size: int, pixels: bool, tags: Sequence[str] = _HEADER_TAGS) -> FileDataset:
    """Read a file; of the header only what `headers_of` needs unless pixels or other tags are asked for.

    Args:
        stream: At its start.
        size: Its length in bytes.
        pixels: Whether to read all of it.
        tags: Keywords of what to read otherwise.

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
    """A stream that is never asked for more than it holds.

    A damaged length of an element would be taken as memory, up to 4 GiB of it, before anything is read.
    """

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._size = stream, size
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        """As of any stream."""
        if not 0 <= count <= _ALWAYS_READ_BYTES:
            left = max(self._size - self.tell(), 0)
            count = min(count, left) if count >= 0 else left
        data: bytes = self._stream.read(count)
        return data


def _plain(data: bytes, size: int) -> Any:
    """A deflated file as an explicit little-endian one; pydicom would inflate whatever comes.

    Raises:
        InputError: If it is damaged, or would unpack to more than a scan.
    """
    if data[128:138] != b"DICM\x02\0\0\0UL":
        raise InputError("expected the length of the file's header, got none; copy the file again")
    end = 144 + int.from_bytes(data[140:144], "little")
    rest = inflated(data[end:], max(INFLATED_BYTES, INFLATED_RATIO * size))
    return type(rest)(_PLAIN_START + rest.getbuffer())


def images_in(stream: Any, entry: Entry, name: str) -> tuple[ImageHeader, ...] | None:
    """The images of a file; None if it is no DICOM.

    Args:
        stream: The file, at its start.
        entry: Where it lies.
        name: What to call it in messages.

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
            raise InputError(f"{name}: expected a CT image, got a file that ends before it; copy it again")
        return found


def headers_of(dataset: Dataset, entry: Entry) -> list[ImageHeader]:
    """The images of a file; none if it holds no pixels.

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
    """Frames of a file with functional groups."""
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0)
    whole = dataset if frames == 1 else None
    said = (
        _Said(dataset, (_item(dataset, "PerFrameFunctionalGroupsSequence", frame), shared, whole), frame)
        for frame in range(frames)
    )
    return [_header(of_frame, entry, shape) for of_frame in said]


def _classic(dataset: Dataset, frames: int, entry: Entry, shape: tuple[int, int]) -> list[ImageHeader]:
    """Frames of a file without functional groups, which gives the place of the first one and how far they are apart.

    They are taken to follow one another along the normal, by their own offsets, the spacing between slices, or the
    slice thickness. Frames of one place, as times are, and frames without a distance have no place.
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
    """How far along the normal frames lie; None where it is not said."""
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
    """What a file says of one of its images.

    Attributes:
        dataset: The file.
        groups: Where the image's own values are looked for, in this order: the dataset of a file of one image; else
            the functional groups of the frame and those that all frames share.
        frame: Its number from 0, in a file with several; None in a file of one image.
    """

    dataset: Dataset
    groups: tuple[Dataset | None, ...]
    frame: int | None

    def value(self, keyword: str, sequence: str) -> Any:
        """The first value that a group has, in the sequence where the standard puts it; else None."""
        for group in self.groups:
            inner = group if group is None or group is self.dataset else _item(group, sequence, 0)
            value = None if inner is None else _get(inner, keyword)
            if value is not None:
                return value
        # some writers keep one scale for all frames where single images have it
        return _get(self.dataset, keyword) if sequence == _SCALE else None

    def number(self, keyword: str, sequence: str) -> float | None:
        """A single finite number, else None."""
        numbers = _numbers(self.value(keyword, sequence), 1)
        return numbers[0] if numbers else None

    def image_type(self) -> tuple[str, ...]:
        """Such as ORIGINAL, PRIMARY, AXIAL."""
        return _texts(self.value("FrameType", "CTImageFrameTypeSequence") or _get(self.dataset, "ImageType"))

    def look_up(self, sequence: str, keyword: str) -> Any:
        """The value of a keyword in a sequence of the frame's groups, or with an empty name in the file; else None."""
        if not sequence:
            return _get(self.dataset, keyword)
        groups = (_item(group, sequence, 0) for group in self.groups if group is not None)
        return next((_get(group, keyword) for group in groups if group is not None), None)

    def pixel_mm(self) -> tuple[float, float] | None:
        """Distance of columns, and of rows."""
        rows_columns = _numbers(self.value("PixelSpacing", "PixelMeasuresSequence"), 2)
        return (rows_columns[1], rows_columns[0]) if rows_columns and min(rows_columns) > 0 else None

    def thickness_mm(self) -> float | None:
        """Above 0."""
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
    """A value, or None where there is none or it cannot be read: one odd attribute makes no image unreadable."""
    try:
        return dataset.get(keyword)
    except Exception:  # a malformed value makes pydicom raise nearly anything
        return None


def _item(dataset: Dataset, sequence: str, number: int) -> Dataset | None:
    items = _get(dataset, sequence)
    return items[number] if isinstance(items, pydicom.Sequence) and number < len(items) else None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Finite numbers of a value that should have so many, else None."""
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
