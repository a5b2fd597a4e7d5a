"""Patient, study and slices of a scan, which a DICOM result refers to.

A result belongs to the patient and study of its scan and refers to its slices. UIDs that the scan lacks are generated:
from the bytes of its slices, so that all results of one scan agree, or at random if it was not DICOM. Data of the
patient are copied from file to file and are in no message.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from tomoseg.errors import InputError
from tomoseg.files.dicom.carried import NEEDED_TAGS, OTHER_TAGS, UIDS, is_sound
from tomoseg.files.dicom.headers import quietly
from tomoseg.notices import Notice
from tomoseg.slices import SourceImage, SourceSlices
from tomoseg.volume import SourceGrid, spacing_of

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

_NO_DICOM = (
    "the scan is not DICOM, so the DICOM result has no patient, refers to no images and gets its own study "
    "and frame of reference. Segment the DICOM series to have it with the images."
)

_DATE = r"\d{8}"
_LONGEST = {"SH": 16, "LO": 64, "PN": 3 * 64 + 2, "CS": 16, "DS": 16, "AS": 4}
"""Maximum characters of a value by its VR."""

_ALLOWED = {
    "PatientAge": r"\d{3}[DWMY]",
    "PatientSex": "[MFO]",
    "PatientBirthDate": _DATE,
    "StudyDate": _DATE,
    "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?",
}
"""Patterns of values that are copied; others are left empty."""

_MAKERS = uuid.UUID("5f3f8f0e-3d0a-4c55-9b7e-6a0f1d1f2c47")
"""Namespace of UIDs that are generated from a scan."""


@dataclass(frozen=True)
class Frame:
    """One slice that a result lies on.

    Attributes:
        position_mm: Position of its first pixel in mm, in DICOM's LPS+.
        sop_class_uid: SOP Class UID of its file.
        sop_instance_uid: SOP Instance UID of its file; empty if the scan was not DICOM.
        number: Number of its frame in that file, from 1; None in a file of one image.
    """

    position_mm: tuple[float, float, float]
    sop_class_uid: str = ""
    sop_instance_uid: str = field(default="", repr=False)
    number: int | None = None


@dataclass(frozen=True)
class SourceSeries:
    """The series that a result belongs to.

    Attributes:
        grid: The scan's grid.
        identity: Patient, study and character set, which are copied to every result.
        series_uid: Series Instance UID of the scan; empty if it was not DICOM.
        frame_of_reference_uid: Frame of Reference UID of positions.
        frames: The slices, in the order of `to_frames`.
        across: `(3,)`, unit vector along rows (increasing column), LPS+.
        down: `(3,)`, unit vector along columns (increasing row), LPS+.
        pixel_mm: Spacing of columns and of rows in mm.
        gap_mm: Spacing of slices in mm, or the usual one.
        notices: Notices about values that were generated or left empty.
    """

    grid: SourceGrid
    identity: Dataset = field(repr=False)
    series_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    frames: tuple[Frame, ...] = field(repr=False)
    across: Float[np.ndarray, "3"]
    down: Float[np.ndarray, "3"]
    pixel_mm: tuple[float, float]
    gap_mm: float
    notices: tuple[Notice, ...] = ()

    @property
    def is_dicom(self) -> bool:
        """Whether there are slices to refer to."""
        return self.grid.slices is not None

    def to_frames(self, values: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "c r n"]:
        """Resample a mask or a label map to the slices, `(columns, rows, slices)`."""
        return self.grid.to_slices(values) if self.is_dicom else values[::-1, ::-1]

    def identify(self, dataset: Dataset, ascii_only: bool = True) -> None:
        """Copy patient and study to a result.

        Args:
            dataset: The result.
            ascii_only: Whether its own texts are ASCII; otherwise it is written in UTF-8.
        """
        dataset.update(self.identity)
        if not ascii_only:
            dataset.SpecificCharacterSet = "ISO_IR 192"


def source_series(grid: SourceGrid, name: str) -> SourceSeries:
    """Return the series that results of a scan refer to.

    Args:
        grid: The scan's grid.
        name: Name of the scan in messages.

    Raises:
        InputError: If no file can refer to the scan's slices.
    """
    if grid.slices is not None and grid.slices.not_to_be_told:
        raise InputError(grid.slices.refusal(name))
    return _made_series(grid, name) if grid.slices is None else _read_series(grid, grid.slices, name)


def new_uid() -> str:
    """Generate a random UID.

    Source: DICOM PS3.5, B.2.
    """
    return f"2.25.{uuid.uuid4().int}"


def _read_series(grid: SourceGrid, slices: SourceSlices, name: str) -> SourceSeries:
    made = _Made(slices, name)
    with quietly(name):
        header = Dataset() if slices.header is None else slices.header
        identity, odd = _identity(header)
        uids = [made.unless_sound(header.get(keyword), keyword) for keyword in UIDS]
    identity.StudyInstanceUID = uids[0]
    directions = grid.affine[:3, :2] * [[-1.0], [-1.0], [1.0]] + 0.0
    pixel_mm = np.linalg.norm(directions, axis=0)
    frames = tuple(
        Frame(
            _position(image, slices.affine_of(number, grid.affine)),
            image.sop_class_uid if is_sound(image.sop_class_uid) else CT_IMAGE,
            made.unless_sound(image.sop_instance_uid, "SOPInstanceUID", image),
            None if image.frame is None else image.frame + 1,
        )
        for number, image in enumerate(slices.images)
    )
    return SourceSeries(
        grid,
        identity,
        uids[1],
        uids[2],
        frames,
        directions[:, 0] / pixel_mm[0],
        directions[:, 1] / pixel_mm[1],
        (float(pixel_mm[0]), float(pixel_mm[1])),
        spacing_of(grid.affine)[2],
        (*made.notices(), *_of_odd(odd, name)),
    )


def _made_series(grid: SourceGrid, name: str) -> SourceSeries:
    """Make a study for a scan that was not DICOM: axial slices from the feet up, on the scan's own voxels."""
    identity, _ = _identity(Dataset())
    identity.StudyInstanceUID = new_uid()
    affine, (columns, rows, slices) = grid.canonical_affine, grid.canonical_shape
    x_mm, y_mm, z_mm = grid.spacing_mm
    positions = [affine @ (columns - 1, rows - 1, k, 1) for k in range(slices)]
    return SourceSeries(
        grid,
        identity,
        "",
        new_uid(),
        tuple(Frame(_lps(position[:3])) for position in positions),
        np.array(_lps(-affine[:3, 0] / x_mm)),
        np.array(_lps(-affine[:3, 1] / y_mm)),
        (x_mm, y_mm),
        z_mm,
        (Notice(f"{name}: {_NO_DICOM}", "headers"),),
    )


def _identity(header: Dataset) -> tuple[Dataset, list[str]]:
    """Copy patient and study from a header; return them, and the keywords of invalid values that are left empty."""
    identity = Dataset()
    given = [keyword for keyword in (*NEEDED_TAGS, *OTHER_TAGS) if str(header.get(keyword) or "")]
    odd = [keyword for keyword in given if not _may_be(keyword, header.get(keyword))]
    for keyword in (*NEEDED_TAGS, *OTHER_TAGS):
        if keyword in header and keyword not in odd:
            identity.add(header[keyword])
        elif keyword in NEEDED_TAGS:
            setattr(identity, keyword, "")
    _add_rest(identity, header)
    return identity, odd


def _add_rest(identity: Dataset, header: Dataset) -> None:
    """Copy the position reference indicator and the character set, which is replaced by UTF-8 if it is unknown."""
    place = str(header.get("PositionReferenceIndicator") or "")
    identity.PositionReferenceIndicator = place if _is_text(place, _LONGEST["LO"]) else ""
    characters = header.get("SpecificCharacterSet")
    if characters is not None:
        identity.SpecificCharacterSet = characters if _are_known(characters) else "ISO_IR 192"


def _are_known(characters: object) -> bool:
    names = characters if isinstance(characters, MultiValue) else [characters]
    return all(one in python_encoding for one in names)


def _may_be(keyword: str, value: object) -> bool:
    """Whether a value is valid for its attribute: a single one, not too long, and of the right form."""
    if isinstance(value, MultiValue | Sequence):
        return False
    if keyword in _ALLOWED:
        return re.fullmatch(_ALLOWED[keyword], str(value)) is not None
    return _is_text(str(value), _LONGEST.get(dictionary_VR(keyword), _LONGEST["LO"]))


def _is_text(text: str, longest: int) -> bool:
    return len(text) <= longest and text.isprintable() and "\\" not in text


def _of_odd(keywords: list[str], name: str) -> list[Notice]:
    if not keywords:
        return []
    text = f"{name}: the scan's {', '.join(keywords)} have invalid values; they are left empty in the DICOM result."
    return [Notice(text, "headers")]


def _position(image: SourceImage, affine: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """Return the position of a slice in LPS+ mm: that in its file, which is exact, or else that on the grid."""
    return _lps(affine[:3, 3] if image.position_mm is None else np.array(image.position_mm))


def _lps(ras: Float[np.ndarray, "3"]) -> tuple[float, float, float]:
    x, y, z = (float(mm) for mm in ras * (-1.0, -1.0, 1.0) + 0.0)
    return (x, y, z)


class _Made:
    """Generator of missing UIDs, the same ones for the same files."""

    def __init__(self, slices: SourceSlices, name: str) -> None:
        self._slices = slices
        self._name = name
        self._missing: set[str] = set()

    def unless_sound(self, uid: object, keyword: str, image: SourceImage | None = None) -> str:
        """Return a UID if it is valid, otherwise one generated from the bytes of an image, by default the first."""
        if is_sound(uid):
            return str(uid)
        self._missing.add(keyword)
        digest = (image or self._slices.images[0]).digest
        return f"2.25.{uuid.uuid5(_MAKERS, f'{keyword} {digest}').int}"

    def notices(self) -> tuple[Notice, ...]:
        """Return a notice of the UIDs that were missing."""
        if not self._missing:
            return ()
        text = (
            f"{self._name}: the scan has no usable {', '.join(sorted(self._missing))}; the DICOM result has "
            "generated ones. A viewer will not link it to the scan."
        )
        return (Notice(text, "headers"),)
