"""Structure sets in, as we write them and as planning systems do."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage

from tests.files.dicom.scans import TURNED, label_map, overlapping, series
from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.read_structures import read_structure_set
from tomoseg.files.dicom.source import source_series
from tomoseg.files.dicom.structures import write_rtstruct
from tomoseg.files.label_files import (
    corners_mm,
    label_suffix,
    needs_scan,
    noticed_of_geometry,
    open_segments,
    read_geometry,
    read_label_map,
    segment_values,
)
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid

GRID = SourceGrid((9, 7, 5), np.diag([-1.25, -1.5, 2.5, 1.0]))
"""Columns to the left, rows to the back, slices to the head, from (0, 0, 0) on: the file's axes are DICOM's."""


def square(low, high, k):
    """Points on slice k, from voxel to voxel, LPS+ in mm."""
    corners = np.array([[low, low, k], [high, low, k], [high, high, k], [low, high, k]], float)
    return corners * [1.25, 1.5, 2.5]


def structure_set(path, rois, syntax=ExplicitVRLittleEndian):
    """Structures by name: contours, or (kind, points) pairs; a name with ! is drawn automatically."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = RTStructureSetStorage, "1.2.3", "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, lines = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name.rstrip("!")
        roi.ROIGenerationAlgorithm = "AUTOMATIC" if name.endswith("!") else "MANUAL"
        lines.ReferencedROINumber, lines.ContourSequence = number, []
        for contour in contours:
            kind, points = contour if isinstance(contour, tuple) else ("CLOSED_PLANAR", contour)
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
            item.ContourData = [f"{number:.6g}" for number in np.ravel(points)]
            lines.ContourSequence.append(item)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(lines)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), TURNED, (0, 1, 0, 0, 0, -1)])
@pytest.mark.parametrize("make", [label_map, overlapping])
def test_our_own_come_back(tmp_path, rng, orientation, make):
    normal = np.cross(orientation[:3], orientation[3:])
    volume = series(tmp_path / "ct", [tuple(normal * 2.5 * k) for k in (2, 0, 1, 3)], orientation=orientation)
    result = make(volume, rng)
    path = tmp_path / "RS.dcm"
    write_rtstruct(result, source_series(volume.source, "scan"), path, MadeBy("ab" * 32, "1.2.3", "head-neck"))
    assert (label_suffix(path), needs_scan(path)) == (".rtstruct.dcm", True)
    assert list(segment_values(path)) == ["spleen", "kidney_right", "a structure of my own"]
    for grid in (volume.source, SourceGrid(volume.source.shape, volume.source.affine)):
        segments = open_segments(path, grid)
        for name in segments.names:
            np.testing.assert_array_equal(segments.mask(name), result.mask(name))


@pytest.mark.parametrize(
    "places", [[(0, 0, 0), (0, 1, 3), (0, 2, 6)], [0, 1, 2.4, 5]], ids=["tilted gantry", "uneven gaps"]
)
def test_contours_lie_on_the_slices_of_a_scan_that_was_resampled(tmp_path, rng, places):
    volume = series(tmp_path / "ct", places)
    result = label_map(volume, rng)
    path = tmp_path / "a.dcm"
    write_rtstruct(result, source_series(volume.source, "scan"), path, MadeBy("ab" * 32, "1.2.3", "head-neck"))
    slices = volume.source.slices
    segments = open_segments(path, volume.source)
    for name in segments.names:
        on_slices = slices.to_slices(volume.source.from_canonical(result.mask(name)))
        again = slices.to_slices(volume.source.from_canonical(segments.mask(name)))
        nearest = [np.abs(slices.offsets_voxels[:, 2] - k).argmin() for k in range(volume.source.shape[2])]
        kept = sorted(set(nearest))  # a slice that is no plane's nearest is on none
        np.testing.assert_array_equal(again[:, :, kept], on_slices[:, :, kept])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_holes_islands_and_names_of_planning_systems(tmp_path, syntax):
    rois = {
        "PTV 60/2 Gy": [square(0.5, 5.5, 1), square(1.5, 4.5, 1), square(0.5, 5.5, 2)],
        "Lunge groß": [("CLOSEDPLANAR_XOR", square(0.5, 3.5, 3)), ("CLOSEDPLANAR_XOR", square(2.5, 5.5, 3))],
        "not drawn": [],
        "looked for!": [],
        "isocentre": [("POINT", square(1, 1, 1)[:1])],
    }
    path = structure_set(tmp_path / "a.dcm", rois, syntax)
    assert segment_values(path) == {"PTV 60_2 Gy": (), "Lunge groß": (), "looked for": ()}
    (told,) = noticed_of_geometry(path)
    assert str(told).endswith("a.dcm: Left out: structures without a closed contour (not drawn, isocentre).")
    segments = open_segments(path, GRID)
    found = GRID.from_canonical(segments.mask("PTV 60_2 Gy"))
    assert [int(found[:, :, k].sum()) for k in range(5)] == [0, 25 - 9, 25, 0, 0]
    assert found[1, 1, 1]
    assert not found[2, 2, 1]
    assert GRID.from_canonical(segments.mask("Lunge groß"))[:, :, 3].sum() == 9 + 9 - 2
    assert not segments.mask("looked for").any()


def test_overlapping_structures_are_kept(tmp_path):
    path = structure_set(tmp_path / "a.dcm", {"a": [square(0.5, 3.5, 1)], "b": [square(1.5, 4.5, 1)]})
    segments = open_segments(path, GRID)
    assert (segments.mask("a") & segments.mask("b")).sum() == 4


def test_contours_between_or_beyond_the_slices_are_refused(tmp_path):
    path = structure_set(tmp_path / "a.dcm", {"a": [square(0.5, 3.5, 1), square(0.5, 3.5, 2.5)]})
    with pytest.raises(
        GridError,
        match=r"a\.dcm: expected contours on the slices of ct, got 1 of 2 of a up to 1\.25 mm away from the nearest",
    ):
        open_segments(path, GRID, "ct").mask("a")
    path = structure_set(tmp_path / "a.dcm", {"a": [square(0.5, 3.5, 7)]})
    with pytest.raises(GridError, match=r"got 1 of 1 of a up to 7\.5 mm away"):
        open_segments(path, GRID).mask("a")
    np.testing.assert_allclose(corners_mm(path)[[0, -1]], [[-3.5 * 1.25, -3.5 * 1.5, 17.5], [-0.625, -0.75, 17.5]])
    tilted = square(0.5, 3.5, 1) + np.array([[0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
    with pytest.raises(GridError, match="got 1 of 1 of a up to"):
        open_segments(structure_set(path, {"a": [tilted]}), GRID).mask("a")


def test_without_a_scan_there_are_no_voxels(tmp_path):
    path = structure_set(tmp_path / "a.dcm", {"a": [square(0.5, 3.5, 1)]})
    with pytest.raises(GridError, match="expected the scan beside a DICOM structure set, whose contours are not on"):
        read_geometry(path)
    with pytest.raises(InputError, match="expected a mask or a label map, got a DICOM structure set, which names its"):
        read_label_map(path)


def test_what_is_wrong_is_said(tmp_path):
    path = structure_set(tmp_path / "a.dcm", {"a": [square(0.5, 3.5, 1)], " a": [square(0.5, 3.5, 1)]})
    with pytest.raises(LabelError, match="expected each structure's name once, got a twice; rename one"):
        read_structure_set(path)
    with pytest.raises(InputError, match="expected structures with closed contours, got none"):
        read_structure_set(structure_set(path, {"a": [("OPEN_PLANAR", square(1, 2, 1))]}))
    for bad in (["1", "2"], ["1", "2", "1e300"], ["1", "nan", "2"]):
        dataset = pydicom.dcmread(structure_set(path, {"a": [square(0.5, 3.5, 1)]}))
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        with pydicom.config.disable_value_validation():
            contour.ContourData = bad
            dataset.save_as(path)
        with pytest.raises(InputError, match="expected contours of points in mm, got other numbers"):
            read_structure_set(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"a\.dcm: expected"):
        read_structure_set(path)


def test_nothing_found_is_an_empty_result(tmp_path):
    volume = series(tmp_path / "ct")
    result = label_map(volume, np.random.default_rng(0))
    empty = LabelMap(np.zeros_like(result.values), result.labels, volume.source)
    path = tmp_path / "a.dcm"
    write_rtstruct(empty, source_series(volume.source, "scan"), path, MadeBy("ab" * 32, "1.2.3", "head-neck"))
    segments = open_segments(path, volume.source)
    assert segments.names == result.labels.names
    assert not segments.mask("spleen").any()
