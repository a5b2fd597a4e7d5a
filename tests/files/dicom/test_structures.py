import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Line

from tests.files.dicom.scans import LABELS, TURNED, label_map, overlapping, series
from tests.files.dicom.series import NAME, PATIENT_ID, enhanced, save
from tomoseg.errors import InputError
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.source import source_series
from tomoseg.files.dicom.structures import write_rtstruct
from tomoseg.files.nifti import read_label_map
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid, Volume


def written(result, tmp_path):
    path = tmp_path / "out" / "rtstruct.dcm"
    write_rtstruct(result, source_series(result.grid, "scan"), path, MadeBy("ab" * 32, "1.2.3", "head-neck"))
    return pydicom.dcmread(path)


def images_of(folder):
    """The scan's own headers by SOP instance UID."""
    return {header.SOPInstanceUID: header for header in map(pydicom.dcmread, sorted(folder.iterdir()))}


def rasterised(contour_sequence, images):
    """Pixels within the contours of a structure by image, from the images' own headers alone."""
    masks = {}
    for item in contour_sequence:
        (referred,) = item.ContourImageSequence
        header = images[referred.ReferencedSOPInstanceUID]
        axes = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        down_mm, across_mm = map(float, header.PixelSpacing)
        moved = np.array(item.ContourData, float).reshape(-1, 3) - np.array(header.ImagePositionPatient, float)
        assert np.abs(moved @ np.cross(*axes)).max() < 1e-3  # on the slice
        line = moved @ axes.T / (across_mm, down_mm)
        centres = np.stack(np.meshgrid(np.arange(header.Columns), np.arange(header.Rows), indexing="ij"), -1)
        inside = Line(np.vstack([line, line[:1]])).contains_points(centres.reshape(-1, 2))
        mask = masks.setdefault(referred.ReferencedSOPInstanceUID, np.zeros(centres.shape[:2], bool))
        assert not (mask & inside.reshape(mask.shape)).any()  # contours of a slice lie apart
        mask |= inside.reshape(mask.shape)
    return masks


def check(dataset, result, images):
    """Every structure's contours are its mask, on every slice."""
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    order = [frame.sop_instance_uid for frame in source_series(result.grid, "scan").frames]
    for structure in dataset.ROIContourSequence:
        masks = rasterised(structure.ContourSequence, images)
        expected = result.grid.to_slices(result.mask(names[structure.ReferencedROINumber]))
        for number, uid in enumerate(order):
            found = masks.get(uid, np.zeros(expected.shape[:2], bool))
            np.testing.assert_array_equal(found, expected[:, :, number])
    return list(names.values())


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), TURNED])
@pytest.mark.parametrize("tilt_mm", [0, 0.9])
def test_rasterised_back_contours_are_the_masks(tmp_path, rng, orientation, tilt_mm):
    down = np.array(orientation[3:])
    volume = series(tmp_path / "ct", [tuple(np.array([0, 0, 2.5 * k]) + down * tilt_mm * k) for k in (2, 0, 1)])
    for make in (label_map, overlapping):
        result = make(volume, rng)
        dataset = written(result, tmp_path)
        found = check(dataset, result, images_of(tmp_path / "ct"))
        assert found == ["spleen", "kidney_right", "a structure of my own"]


def test_what_it_refers_to_and_says(tmp_path, rng):
    dataset = written(label_map(series(tmp_path / "ct", [1, 0, 2]), rng), tmp_path)
    images = images_of(tmp_path / "ct")
    (space,) = dataset.ReferencedFrameOfReferenceSequence
    (study,) = space.RTReferencedStudySequence
    (of_series,) = study.RTReferencedSeriesSequence
    assert (space.FrameOfReferenceUID, study.ReferencedSOPInstanceUID) == ("1.2.3.5", "1.2.3.4")
    assert {image.ReferencedSOPInstanceUID for image in of_series.ContourImageSequence} == set(images)
    assert dataset.SeriesDescription == "tomoseg head-neck"
    assert (dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID) == (NAME, PATIENT_ID, "1.2.3.4")
    kidney = dataset.RTROIObservationsSequence[1]
    (code,) = kidney.RTROIIdentificationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("64033007", "SCT")
    assert code.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert list(dataset.ROIContourSequence[2].ROIDisplayColor) == [10, 20, 30]
    assert {item.ContourGeometricType for r in dataset.ROIContourSequence for item in r.ContourSequence} == {
        "CLOSED_PLANAR"
    }


def test_frames_of_an_enhanced_file_are_referred_to_by_number(tmp_path, rng):
    dataset = enhanced(rng.integers(0, 99, (2, 7, 9)).astype(np.int16), [(0, 0, 4), (0, 0, 0)])
    volume = read_scan(save([dataset], tmp_path / "ct"))
    found = {
        (float(item.ContourData[2]), item.ContourImageSequence[0].ReferencedFrameNumber)
        for structure in written(label_map(volume, rng), tmp_path).ROIContourSequence
        for item in structure.ContourSequence
    }
    assert found == {(4.0, 1), (0.0, 2)}


def test_nothing_found_names_all_and_draws_nothing(tmp_path):
    volume = series(tmp_path / "ct")
    dataset = written(LabelMap(np.zeros(volume.shape, np.uint8), LABELS, volume.source), tmp_path)
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == list(LABELS.names)
    assert not any("ContourSequence" in structure for structure in dataset.ROIContourSequence)


def test_a_scan_without_slices_is_refused(tmp_path, rng):
    volume = Volume(np.zeros((4, 5, 6), np.int16), SourceGrid((4, 5, 6), np.eye(4)))
    with pytest.raises(InputError, match="expected a scan read from DICOM for rtstruct"):
        written(label_map(volume, rng), tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_real_scan(tmp_path, test_data):
    volume = read_scan(test_data / "abdomen_dicom")
    labels = test_data / "abdomen_dicom_labels_total_v2.nii.gz"
    result = LabelMap(read_label_map(labels, volume.source), LabelSet.total(), volume.source)
    dataset = written(result, tmp_path)
    files = sorted((test_data / "abdomen_dicom").iterdir())
    by_height = {float(header.ImagePositionPatient[2]): header for header in map(pydicom.dcmread, files)}
    frames = source_series(volume.source, "scan").frames  # the files have no UIDs: made ones stand for them
    images = {frame.sop_instance_uid: by_height[frame.position_mm[2]] for frame in frames}
    assert len(images) == 20
    assert len(check(dataset, result, images)) == 31
