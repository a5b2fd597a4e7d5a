"""DICOM series made with pydicom, of whatever a test needs."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

NAME, PATIENT_ID, BIRTH = "SECRET^PATIENT", "ID-4711", "19620229"
SERIES = generate_uid(entropy_srcs=["tomoseg"])
HEAD_FIRST = (1, 0, 0, 0, 1, 0)


def image(stored, position=(0, 0, 0), number=1, pixel=(1.0, 1.0), orientation=HEAD_FIRST, syntax=None, **tags):
    """One CT image; a tag of None is left out.

    Args:
        stored: Rows and columns of stored values, int16 or uint16.
        position: ImagePositionPatient, LPS.
        number: InstanceNumber.
        pixel: Distance of rows, of columns.
        orientation: ImageOrientationPatient, LPS.
        syntax: Of an uncompressed transfer syntax.
        tags: By keyword.
    """
    dataset = _start(CTImageStorage, syntax)
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [float(x) for x in position]
    dataset.ImageOrientationPatient = [float(x) for x in orientation]
    dataset.PixelSpacing = [float(x) for x in pixel]
    dataset.SliceThickness = 3.0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
    _set_pixels(dataset, stored)
    return _with(dataset, tags)


def enhanced(stored, positions, pixel=(1.0, 1.0), scales=None, **tags):
    """One enhanced CT file.

    Args:
        stored: Frames, rows and columns.
        positions: One a frame, LPS.
        pixel: Distance of rows, of columns.
        scales: Slope and intercept of each frame.
        tags: By keyword.
    """
    dataset = _start(EnhancedCTImageStorage, None)
    shared = Dataset()
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = list(pixel)
    shared.PixelMeasuresSequence[0].SliceThickness = 3.0
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(HEAD_FIRST)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for number, position in enumerate(positions):
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [float(x) for x in position]
        frame.PixelValueTransformationSequence = [Dataset()]
        slope, intercept = scales[number] if scales else (1, 0)
        frame.PixelValueTransformationSequence[0].RescaleSlope = slope
        frame.PixelValueTransformationSequence[0].RescaleIntercept = intercept
        frame.PixelValueTransformationSequence[0].RescaleType = "HU"
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    dataset.NumberOfFrames = len(positions)
    _set_pixels(dataset, stored)
    return _with(dataset, tags)


def save(datasets, folder: Path) -> Path:
    """Write images as 000.dcm, 001.dcm, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def _start(sop_class, syntax):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.set_original_encoding(meta.TransferSyntaxUID.is_implicit_VR, meta.TransferSyntaxUID.is_little_endian)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, PATIENT_ID, BIRTH
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesInstanceUID = SERIES
    dataset.SeriesNumber = 2
    return dataset


def _set_pixels(dataset, stored):
    stored = np.asarray(stored)
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    dataset["PixelData"] = _element(stored.astype(stored.dtype.newbyteorder(order)).tobytes())


def _element(data):
    from pydicom.dataelem import DataElement

    return DataElement(0x7FE00010, "OW", data)


def _with(dataset, tags):
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset
