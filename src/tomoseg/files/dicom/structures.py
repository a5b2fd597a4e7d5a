"""Writing of DICOM structure sets (RTSTRUCT): closed contours of each structure on the scan's own slices.

Contours run midway between pixel centres, and holes are kept as keyholes (see `contours`). Structures that were not
found are left out, unless none was found.

Source: DICOM PS3.3, A.19, C.8.8.5, C.8.8.6 and C.8.8.8.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage

from tomoseg.errors import InputError
from tomoseg.files.atomic import whole_file
from tomoseg.files.contours import contours
from tomoseg.files.dicom.headers import without_pydicom_warnings
from tomoseg.files.dicom.made_by import LONGEST_NAME, MANUFACTURER, SIDES, Code, MadeBy, code_of
from tomoseg.files.dicom.source import Frame, SourceSeries, new_uid
from tomoseg.files.target import Target
from tomoseg.labels import Structure
from tomoseg.masks import BoxedMask
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks

SERIES_NUMBER = 9002
"""Series number far from those of scanners."""

DECIMALS = 4
"""Decimals of contour points in mm; a ten-thousandth is far below a pixel and keeps files small."""

_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
_LONGEST_LABEL = 16


def write_rtstruct(result: Segmentation | LabelMap, source: SourceSeries, path: Path, made_by: MadeBy) -> None:
    """Write the contours of all structures as one file, atomically.

    Args:
        result: The masks, or a label map.
        source: The scan's patient, study and slices.
        path: The file; an existing one is replaced, and a missing folder is made.
        made_by: The algorithm that made the masks.

    Raises:
        InputError: If the scan was not DICOM.
        OutputError: If it cannot be written.
    """
    if not source.is_dicom:
        raise InputError(
            "expected a scan read from DICOM for rtstruct, whose contours belong to its slices, got another "
            "file; pass the DICOM series, or use dicom-seg"
        )
    with without_pydicom_warnings():
        dataset = _started(source, made_by)
        names = []
        for structure, mask in zip(result.labels, boxed_masks(result, source.to_frames), strict=True):
            if mask.voxels:
                _add(dataset, structure, made_by, list(_contour_items(mask, source)))
                names.append(structure.name)
        if not names:
            for structure in result.labels:
                _add(dataset, structure, made_by, [])
        source.identify(dataset, all(text.isascii() for text in (made_by.title(), *names)))
        with whole_file(path) as aside:
            dataset.save_as(aside, enforce_file_format=True)


def write_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `rtstruct` and return the path."""
    write_rtstruct(result, target.origin.series, target.path, target.made_by)
    return [target.path]


def _started(source: SourceSeries, made_by: MadeBy) -> Dataset:
    """Return the dataset without structures."""
    meta, uid = FileMetaDataset(), new_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, uid
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "RTSTRUCT", new_uid(), SERIES_NUMBER
    dataset.SeriesDescription, dataset.OperatorsName, dataset.InstanceNumber = made_by.title(), "", 1
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, "tomoseg predict"
    dataset.SoftwareVersions = made_by.version
    now = datetime.datetime.now()
    dataset.InstanceCreationDate = dataset.StructureSetDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.StructureSetTime = now.strftime("%H%M%S")
    dataset.StructureSetLabel = "tomoseg"
    dataset.StructureSetDescription = f"tomoseg {made_by.version}, model {made_by.model_sha256}"[:1024]
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.FrameOfReferenceUID = source.frame_of_reference_uid
    dataset.ReferencedFrameOfReferenceSequence = [_slices(source)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    return dataset


def _slices(source: SourceSeries) -> Dataset:
    """Return the reference to the frame of reference, with its study, series and slices."""
    series = Dataset()
    series.SeriesInstanceUID = source.series_uid
    series.ContourImageSequence = [_image(frame) for frame in source.frames]
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _STUDY_COMPONENT, source.identity.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    space = Dataset()
    space.FrameOfReferenceUID = source.frame_of_reference_uid
    space.RTReferencedStudySequence = [study]
    return space


def _image(frame: Frame) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
    if frame.number is not None:
        image.ReferencedFrameNumber = frame.number
    return image


def _add(dataset: Dataset, structure: Structure, made_by: MadeBy, items: list[Dataset]) -> None:
    """Add one structure: its name, its contours and its code."""
    number = len(dataset.StructureSetROISequence) + 1
    roi = Dataset()
    roi.ROINumber, roi.ROIName = number, structure.name[:LONGEST_NAME]
    roi.ReferencedFrameOfReferenceUID = dataset.FrameOfReferenceUID
    roi.ROIGenerationAlgorithm, roi.ROIGenerationDescription = made_by.kind, f"tomoseg {made_by.version}"
    dataset.StructureSetROISequence.append(roi)
    lines = Dataset()
    lines.ROIDisplayColor, lines.ReferencedROINumber = list(structure.colour), number
    if items:
        lines.ContourSequence = items
    dataset.ROIContourSequence.append(lines)
    observation = Dataset()
    observation.ObservationNumber, observation.ReferencedROINumber = number, number
    observation.ROIObservationLabel = structure.name[:_LONGEST_LABEL]
    observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN", ""
    kind = _coded(code_of(structure))
    if structure.laterality in SIDES:
        kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(SIDES[structure.laterality])]
    observation.RTROIIdentificationCodeSequence = [kind]
    dataset.RTROIObservationsSequence.append(observation)


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _contour_items(mask: BoxedMask, source: SourceSeries) -> Iterator[Dataset]:
    """Yield the contours of one structure, slice by slice."""
    first_column, first_row, first_slice = mask.start
    for depth in range(mask.inside.shape[2]):
        frame = source.frames[first_slice + depth]
        for line in contours(mask.inside[:, :, depth]):
            yield _contour_item(_in_mm(line + np.array([first_column, first_row]), frame, source), frame)


def _in_mm(line: Float[np.ndarray, "n 2"], frame: Frame, source: SourceSeries) -> Float[np.ndarray, "n 3"]:
    steps = np.stack([source.across * source.pixel_mm[0], source.down * source.pixel_mm[1]])
    return line @ steps + frame.position_mm


def _contour_item(points_mm: Float[np.ndarray, "n 3"], frame: Frame) -> Dataset:
    item = Dataset()
    item.ContourImageSequence = [_image(frame)]
    item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points_mm)
    numbers = np.round(points_mm.reshape(-1), DECIMALS) + 0.0
    text = "\\".join([f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".") for number in numbers.tolist()])
    value = text.encode() + b" " * (len(text) % 2)
    tag: Any = Tag("ContourData")  # raw, since pydicom would make an object of each of millions of numbers
    item[tag] = RawDataElement(tag, "DS", len(value), value, 0, False, True)
    return item
