"""Writing of DICOM Segmentation objects with highdicom: one file with all masks, on the scan's own slices.

They are BINARY, with one bit per pixel and a frame for each structure and slice that it is in; or on request LABELMAP,
with one structure per pixel, which is small. Structures that were not found are left out.

highdicom is given neither the patient, whom it may name in a log, nor the masks of all structures at once, which take
gigabytes: it lays out frames of small placeholders, which the masks and the real references then replace.

Source: DICOM PS3.3, A.51 and C.8.20; Bridge, C. P. et al. (2022). Journal of Digital Imaging 35, 1719-1737.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, UInt8, UInt16
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from tomoseg.errors import LabelError, OutputError, TomosegError
from tomoseg.files.atomic import whole_file
from tomoseg.files.dicom.headers import without_pydicom_warnings
from tomoseg.files.dicom.made_by import ANATOMICAL_STRUCTURE, LONGEST_NAME, MANUFACTURER, SIDES, Code, MadeBy, code_of
from tomoseg.files.dicom.rle import rle_frame
from tomoseg.files.dicom.source import CT_IMAGE, SourceSeries, new_uid
from tomoseg.files.layers import layered_slabs, survey
from tomoseg.files.target import Target
from tomoseg.labels import LabelSet, Structure, label_type
from tomoseg.masks import BoxedMask
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

SERIES_NUMBER = 9001
"""Series number far from those of scanners."""

_STAND_IN = "2.25."
_SEGMENT = "SegmentIdentificationSequence"


def write_seg(
    result: Segmentation | LabelMap, source: SourceSeries, path: Path, made_by: MadeBy, labelmap: bool = False
) -> None:
    """Write all masks as one DICOM file, atomically.

    Args:
        result: The masks, or a label map.
        source: The scan's patient, study and slices.
        path: The file; an existing one is replaced, and a missing folder is made.
        made_by: The algorithm that made the masks.
        labelmap: Whether to write LABELMAP instead of BINARY.

    Raises:
        LabelError: If an id is above 65535, or structures overlap, in a LABELMAP.
        OutputError: If it cannot be written.
    """
    with without_pydicom_warnings():
        dataset = (_labelmap if labelmap else _binary)(result, source, made_by)
        _refer(dataset, source)
        source.identify(
            dataset, str(dataset.SeriesDescription).isascii() and all(map(str.isascii, result.labels.names))
        )
        with whole_file(path) as aside:
            dataset.save_as(aside)


def write_result(result: Segmentation | LabelMap, target: Target, labelmap: bool = False) -> list[Path]:
    """Write the format `dicom-seg` and return the path.

    Args:
        result: The masks, or a label map.
        target: The target to write to.
        labelmap: Whether to write LABELMAP instead of BINARY.

    Raises:
        TomosegError: If `write_seg` raises it.
        OutputError: If highdicom refuses the scan's headers.
    """
    series = target.origin.series
    try:
        write_seg(result, series, target.path, target.made_by, labelmap)
    except TomosegError:
        raise
    except Exception as error:  # highdicom refuses odd headers in many ways, and may quote them
        raise OutputError(
            f"{target.path}: expected a scan with headers from which a DICOM segmentation can be made, got "
            f"{type(error).__name__}; use --format nifti or nrrd"
        ) from error
    return [target.path]


def write_labelmap_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `dicom-seg-labelmap` and return the path, as `write_result` does."""
    return write_result(result, target, labelmap=True)


def _labelmap(result: Segmentation | LabelMap, source: SourceSeries, made_by: MadeBy) -> Dataset:
    seen = survey(result)
    if not seen.is_disjoint:
        one, other = (result.labels.names[channel] for channel in np.argwhere(seen.overlaps)[0])
        raise LabelError(
            "dicom-seg-labelmap: expected structures that do not overlap, since a voxel has one label, got "
            f"{other} where {one} is; use dicom-seg, or let --ml decide"
        )
    labels = _described(result, seen.found)
    values = np.ascontiguousarray(source.to_frames(_one_label_map(result)).T)
    ordered = sorted(labels, key=lambda structure: structure.id)  # highdicom takes them in no other order
    segments = _segments(ordered, [structure.id for structure in ordered], made_by)
    rows, columns = values.shape[1:]
    dataset = _laid_out(values, "LABELMAP", segments, source, made_by, (columns, rows))
    _compress(dataset)
    return dataset


def _compress(dataset: Dataset) -> None:
    """Encode the frames as RLE, which takes a hundredth of their size."""
    kind = np.uint8 if dataset.BitsAllocated == 8 else np.uint16
    size = (int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    frames = np.frombuffer(dataset.PixelData, kind, math.prod(size)).reshape(size)
    dataset.PixelData = encapsulate([rle_frame(frame) for frame in frames])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = RLELossless


def _one_label_map(result: Segmentation | LabelMap) -> UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]:
    if isinstance(result, LabelMap):
        return result.values
    values = np.empty(result.grid.canonical_shape[::-1], label_type(result.labels.ids))
    for start, slab in layered_slabs(result, [0] * len(result.labels)):
        values[start : start + slab.shape[1]] = slab[0]
    return values.T


def _described(result: Segmentation | LabelMap, found: Sequence[int]) -> LabelSet:
    """Return the structures that a file describes: those found, or all if none was, since it must have at least one."""
    return LabelSet(tuple(result.labels.structures[channel] for channel in found or range(len(result.labels))))


def _slices_of(
    result: Segmentation | LabelMap, source: SourceSeries, found: Sequence[int]
) -> dict[int, Bool[np.ndarray, "n"]]:
    """Return for each channel the slices of which it has a frame, `(slices,)` bool: those that it is in.

    A channel that lies only between slices, as in a gap of the scan, is left out. If nothing lies on a slice, each
    channel has an empty frame of the first slice, since a BINARY needs a frame.
    """
    present = {c: _in_frames(mask) for c, mask in zip(found, _on_frames(result, source, found), strict=True)}
    inside = {channel: slices for channel, slices in present.items() if slices.any()}
    return inside or {channel: np.arange(len(source.frames)) == 0 for channel in range(len(result.labels))}


def _binary(result: Segmentation | LabelMap, source: SourceSeries, made_by: MadeBy) -> Dataset:
    """Lay out frames by placeholders of one pixel per structure, then fill them with the bits of the masks.

    The pixel of a structure is set in the slices that it is in.
    """
    seen = survey(result)
    slices = _slices_of(result, source, seen.found)
    wanted, present = list(slices), np.array(list(slices.values()))
    labels = _described(result, wanted)
    side = math.ceil(math.sqrt(len(labels)))
    stand_ins = np.zeros((len(source.frames), side * side), np.uint16)
    stand_ins[:, : len(labels)] = present.T * np.arange(1, len(labels) + 1)
    segments = _segments(labels, range(1, len(labels) + 1), made_by)
    dataset = _laid_out(stand_ins.reshape(-1, side, side), "BINARY", segments, source, made_by, (side, side))
    columns, rows, _ = source.to_frames(np.broadcast_to(np.uint8(0), result.grid.canonical_shape)).shape
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelData = b"".join(_bits(dataset, _on_frames(result, source, wanted)))
    dataset.SegmentsOverlap = "NO" if seen.is_disjoint else "YES"
    return dataset


def _on_frames(result: Segmentation | LabelMap, source: SourceSeries, wanted: Sequence[int]) -> Iterator[BoxedMask]:
    """Yield the masks of the wanted channels on the scan's slices."""
    for channel, mask in enumerate(boxed_masks(result, source.to_frames)):
        if channel in wanted:
            yield mask


def _laid_out(
    values: UInt8[np.ndarray, "n r c"] | UInt16[np.ndarray, "n r c"],
    kind: str,
    segments: list[SegmentDescription],
    source: SourceSeries,
    made_by: MadeBy,
    size: tuple[int, int],
) -> Dataset:
    """Let highdicom make a dataset from label values on the scan's slices; its references are placeholders."""
    import highdicom

    across_mm, down_mm = source.pixel_mm
    return highdicom.seg.Segmentation(
        [_stand_in(source, number, size) for number in range(len(source.frames))],
        values,
        kind,
        segments,
        new_uid(),
        SERIES_NUMBER,
        new_uid(),
        1,
        MANUFACTURER,
        "tomoseg predict",
        made_by.version,
        "none",
        content_label="SEGMENTATION",
        content_description="Structures of a CT",
        series_description=made_by.title(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=highdicom.PixelMeasuresSequence((down_mm, across_mm), source.gap_mm),
    )


def _stand_in(source: SourceSeries, number: int, size: tuple[int, int]) -> Dataset:
    """Return a placeholder header for one slice, without a patient."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CT_IMAGE, f"{_STAND_IN}{number + 1}"
    image.StudyInstanceUID = source.identity.StudyInstanceUID
    image.SeriesInstanceUID = source.series_uid or f"{_STAND_IN}0"
    image.FrameOfReferenceUID = source.frame_of_reference_uid
    image.Modality = "CT"
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
        "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator",
    ):  # fmt: skip
        setattr(image, keyword, "")
    image.Columns, image.Rows = size
    image.PixelSpacing = [_decimal(mm) for mm in source.pixel_mm[::-1]]
    image.SliceThickness = _decimal(source.gap_mm)
    image.ImageOrientationPatient = [_decimal(part) for part in (*source.across, *source.down)]
    image.ImagePositionPatient = [_decimal(mm) for mm in source.frames[number].position_mm]
    return image


def _decimal(value: float) -> str:
    """Format a number in the 16 characters that DICOM allows."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value))


def _segments(labels: Iterable[Structure], numbers: Sequence[int], made_by: MadeBy) -> list[SegmentDescription]:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        MANUFACTURER,
        codes.DCM.ArtificialIntelligence,
        made_by.version,
        parameters={"model_sha256": made_by.model_sha256},
    )
    segments = []
    for structure, number in zip(labels, numbers, strict=True):
        segment = highdicom.seg.SegmentDescription(
            number,
            structure.name[:LONGEST_NAME],
            _concept(ANATOMICAL_STRUCTURE),
            _concept(code_of(structure)),
            made_by.kind,
            algorithm,
            display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
        )
        if structure.laterality in SIDES:
            side = _concept(SIDES[structure.laterality])
            segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
        segments.append(segment)
    return segments


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _in_frames(mask: BoxedMask) -> Bool[np.ndarray, "n"]:
    """Return `(slices,)` bool, whether a mask has voxels in each slice."""
    present = np.zeros(mask.shape[2], bool)
    start = mask.start[2]
    present[start : start + mask.inside.shape[2]] = mask.inside.any(axis=(0, 1))
    return present


def _frame_numbers(dataset: Dataset) -> list[tuple[int, int]]:
    """Return for each frame the number of its segment, from 1, and of its slice, from 0."""
    shared = dataset.SharedFunctionalGroupsSequence[0]  # has the segment if there is only one
    return [
        (
            int((frame if _SEGMENT in frame else shared)[_SEGMENT][0].ReferencedSegmentNumber),
            int(_referred(frame).ReferencedSOPInstanceUID.removeprefix(_STAND_IN)) - 1,
        )
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]


def _referred(frame: Dataset) -> Dataset:
    image: Dataset = frame.DerivationImageSequence[0].SourceImageSequence[0]
    return image


def _bits(dataset: Dataset, masks: Iterator[BoxedMask]) -> Iterator[bytes]:
    """Yield the pixels of all frames, one bit each, without padding bits between frames.

    Eight frames at a time fill whole bytes, whatever the size of a frame.
    """
    frames = _frames(dataset, masks)
    written = 0
    while eight := list(islice(frames, 8)):
        packed = np.packbits(np.concatenate(eight), bitorder="little").tobytes()
        written += len(packed)
        yield packed
    if written % 2:
        yield b"\0"


def _frames(dataset: Dataset, masks: Iterator[BoxedMask]) -> Iterator[Bool[np.ndarray, "p"]]:
    """Yield the pixels of each frame, row by row; frames are in the order of their segments."""
    for mask, (_, frames) in zip(masks, groupby(_frame_numbers(dataset), key=lambda frame: frame[0]), strict=True):
        for _, number in frames:
            yield _frame(mask, number)


def _frame(mask: BoxedMask, number: int) -> Bool[np.ndarray, "p"]:
    columns, rows, _ = mask.shape
    frame = np.zeros((rows, columns), bool)
    depth = number - mask.start[2]
    if 0 <= depth < mask.inside.shape[2]:
        i, j, _ = mask.box
        frame[j, i] = mask.inside[:, :, depth].T
    return frame.reshape(-1)


def _refer(dataset: Dataset, source: SourceSeries) -> None:
    """Replace placeholder references by the scan's slices, or remove them if the scan was not DICOM."""
    frames = dataset.PerFrameFunctionalGroupsSequence
    if not source.is_dicom:
        for frame in frames:
            del frame.DerivationImageSequence
        del dataset.ReferencedSeriesSequence, dataset.SourceImageSequence
        return
    for image in {id(image): image for image in map(_referred, frames)}.values():  # frames of one slice share it
        slice_of = source.frames[int(image.ReferencedSOPInstanceUID.removeprefix(_STAND_IN)) - 1]
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = slice_of.sop_class_uid, slice_of.sop_instance_uid
        if slice_of.number is not None:
            image.ReferencedFrameNumber = slice_of.number
    files = {frame.sop_instance_uid: frame.sop_class_uid for frame in source.frames}
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [_instance(uid, files[uid]) for uid in files]
    dataset.SourceImageSequence = [_instance(uid, files[uid]) for uid in files]


def _instance(uid: str, sop_class_uid: str) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = sop_class_uid, uid
    return image
