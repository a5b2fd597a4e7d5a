import re

import highdicom
import numpy as np
import pydicom
import pytest

from tests.files.dicom.scans import LABELS, TURNED, label_map, overlapping, series
from tests.files.dicom.series import NAME, PATIENT_ID, enhanced, save
from tomoseg.errors import LabelError
from tomoseg.files.dicom.headers import without_pydicom_warnings
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.label_names import label_set_named
from tomoseg.files.nifti import read_label_map
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid, Volume

MADE_BY = MadeBy("ab" * 32, "1.2.3", "head-neck")
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def written(result, tmp_path, **options):
    """The kind, and the file as highdicom reads it."""
    path = tmp_path / "out" / "seg.dcm"
    with without_pydicom_warnings():
        write_seg(result, source_series(result.grid, "scan"), path, MADE_BY, **options)
        read = highdicom.seg.segread(path)
    return read.segmentation_type.value, read


def read_back(segmentation, grid):
    """Masks by label in RAS+ order, put where highdicom says that their voxels lie."""
    masks = {}
    volume = segmentation.get_volume(combine_segments=False)
    numbers = volume.get_channel_values("ReferencedSegmentNumber")
    to_grid = np.linalg.inv(grid.canonical_affine) @ TO_RAS @ volume.affine
    places = np.stack(np.meshgrid(*(np.arange(n) for n in volume.spatial_shape), indexing="ij"), -1).reshape(-1, 3)
    exact = places @ to_grid[:3, :3].T + to_grid[:3, 3]
    i, j, k = np.rint(exact).astype(int).T
    assert np.abs(exact - np.stack([i, j, k], 1)).max() < 1e-6
    for channel, number in enumerate(numbers):
        mask = np.zeros(grid.canonical_shape, bool)
        mask[i, j, k] = volume.array[..., channel].reshape(-1) != 0
        masks[segmentation.get_segment_description(number).segment_label] = mask
    return masks


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), TURNED, (0, 1, 0, 0, 0, -1)])
@pytest.mark.parametrize("kind", ["LABELMAP", "BINARY", "BINARY of overlapping masks"])
def test_highdicom_reads_the_masks_back(tmp_path, rng, orientation, kind):
    normal = np.cross(orientation[:3], orientation[3:])
    places = [tuple(normal * 2.5 * k) for k in (2, 0, 1, 3, 4)]
    volume = series(tmp_path / "ct", places, orientation=orientation)
    result = overlapping(volume, rng) if "overlapping" in kind else label_map(volume, rng)
    found, segmentation = written(result, tmp_path, labelmap=kind == "LABELMAP")
    assert kind.startswith(found)
    assert segmentation.SegmentsOverlap == ("YES" if "overlapping" in kind else "NO")
    masks = read_back(segmentation, volume.source)
    assert list(masks) == ["spleen", "kidney_right", "a structure of my own"]
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, result.mask(name))


def test_masks_without_overlaps_become_a_label_map_of_their_ids(tmp_path, rng):
    volume = series(tmp_path / "ct")
    values = label_map(volume, rng)
    masks = np.stack([values.mask(name) for name in LABELS.names])
    packed = np.packbits(masks, axis=0, bitorder="little")
    kind, segmentation = written(Segmentation.from_packed(packed, LABELS, volume.source), tmp_path, labelmap=True)
    assert kind == "LABELMAP"
    assert [s.SegmentNumber for s in segmentation.SegmentSequence if s.SegmentNumber] == [1, 2, 200]
    for name, mask in read_back(segmentation, volume.source).items():
        np.testing.assert_array_equal(mask, values.mask(name))


@pytest.mark.parametrize("as_map", [True, False])
def test_ids_may_come_in_another_order_than_channels(tmp_path, rng, as_map):
    labels = label_set_named(["jaw", "cord", "tooth"], {"jaw": 1, "cord": 2})
    volume = series(tmp_path / "ct")
    values = LabelMap(rng.choice(np.array([0, 1, 2, 3], np.uint8), volume.shape), labels, volume.source)
    masks = np.packbits(np.stack([values.mask(name) for name in labels.names]), axis=0, bitorder="little")
    result = values if as_map else Segmentation.from_packed(masks, labels, volume.source)
    kind, segmentation = written(result, tmp_path, labelmap=True)
    assert kind == "LABELMAP"
    numbers = {s.SegmentLabel: s.SegmentNumber for s in segmentation.SegmentSequence if s.SegmentNumber}
    assert numbers == {"jaw": 1, "cord": 2, "tooth": 3}
    for name, mask in read_back(segmentation, volume.source).items():
        np.testing.assert_array_equal(mask, values.values == numbers[name])


@pytest.mark.parametrize("slices", [slice(None), slice(1, 2), slice(0, 0)], ids=["all", "one", "none"])
@pytest.mark.parametrize("described", [LABELS, LABELS.subset(["kidney_right"])], ids=["of several", "alone"])
def test_one_structure(tmp_path, rng, described, slices):
    volume = series(tmp_path / "ct")
    values = np.zeros(volume.shape, np.uint8)
    values[:, :, slices] = rng.choice(np.array([0, 2], np.uint8), values[:, :, slices].shape)
    result = LabelMap(values, described, volume.source)
    kind, segmentation = written(result, tmp_path)
    assert kind == "BINARY"
    np.testing.assert_array_equal(read_back(segmentation, volume.source)["kidney_right"], values == 2)


def test_each_frame_refers_to_its_slice(tmp_path, rng):
    volume = series(tmp_path / "ct", [3, 1, 0, 2])
    for labelmap in (False, True):
        _, segmentation = written(label_map(volume, rng), tmp_path, labelmap=labelmap)
        place_of = {}
        for path in sorted((tmp_path / "ct").iterdir()):
            header = pydicom.dcmread(path)
            place_of[header.SOPInstanceUID] = header.ImagePositionPatient
        for frame in segmentation.PerFrameFunctionalGroupsSequence:
            (image,) = frame.DerivationImageSequence[0].SourceImageSequence
            assert place_of[image.ReferencedSOPInstanceUID] == frame.PlanePositionSequence[0].ImagePositionPatient
        (referred,) = segmentation.ReferencedSeriesSequence
        assert referred.SeriesInstanceUID == header.SeriesInstanceUID
        assert {i.ReferencedSOPInstanceUID for i in referred.ReferencedInstanceSequence} == set(place_of)
        assert {i.ReferencedSOPInstanceUID for i in segmentation.SourceImageSequence} == set(place_of)


def test_frames_of_an_enhanced_file_are_referred_to_by_number(tmp_path, rng):
    dataset = enhanced(rng.integers(0, 99, (3, 7, 9)).astype(np.int16), [(0, 0, 4), (0, 0, 0), (0, 0, 2)])
    volume = read_scan(save([dataset], tmp_path / "ct"))
    _, segmentation = written(label_map(volume, rng), tmp_path)
    numbers = {}
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
        assert image.ReferencedSOPClassUID == dataset.SOPClassUID
        numbers[float(frame.PlanePositionSequence[0].ImagePositionPatient[2])] = image.ReferencedFrameNumber
    assert numbers == {0.0: 2, 2.0: 3, 4.0: 1}


def test_a_tilted_stack_comes_back_onto_its_slices(tmp_path, rng):
    places = [(0.0, 0.9 * k, 3.0 * k) for k in range(5)]
    volume = series(tmp_path / "ct", places)
    assert not volume.source.slices.are_planes
    result = overlapping(volume, rng)
    _, segmentation = written(result, tmp_path)
    expected = {name: volume.source.to_slices(result.mask(name)) for name in LABELS.names}
    pixels = segmentation.pixel_array.reshape(-1, 7, 9)
    seen = dict.fromkeys(LABELS.names, 0)
    for frame, bits in zip(segmentation.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        position = tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient))
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        name = segmentation.get_segment_description(number).segment_label
        np.testing.assert_array_equal(bits.T, expected[name][:, :, places.index(position)])
        seen[name] += int(bits.sum())
    assert seen == {name: int(mask.sum()) for name, mask in expected.items()}


@pytest.mark.parametrize("alone", [False, True])
def test_a_structure_between_slices_only_has_no_frame(tmp_path, rng, alone):
    volume = series(tmp_path / "ct", [0, 1, 2, 6, 7])  # 3 to 5 are missing
    result = label_map(volume, rng)
    assert volume.shape[2] == 8
    result.values[result.values == 2] = 0
    if alone:
        result.values[:] = 0
    result.values[4, 3, 4] = 2
    kind, segmentation = written(result, tmp_path)
    assert kind == "BINARY"
    if alone:  # nothing lies on a slice, and a BINARY needs a frame
        assert not segmentation.pixel_array.any()
        assert len(segmentation.SegmentSequence) == len(LABELS)
        return
    labels = [s.SegmentLabel for s in segmentation.SegmentSequence]
    assert labels == ["spleen", "a structure of my own"]
    pixels = segmentation.pixel_array.reshape(-1, 7, 9)
    for number, name in enumerate(labels, start=1):
        frames = [
            f.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
            for f in segmentation.PerFrameFunctionalGroupsSequence
        ]
        assert pixels[frames].sum() == volume.source.to_slices(result.mask(name)).sum()


def test_what_a_segment_says(tmp_path, rng):
    _, segmentation = written(label_map(series(tmp_path / "ct"), rng), tmp_path, labelmap=True)
    assert segmentation.SeriesDescription == "tomoseg head-neck"
    kidney = segmentation.get_segment_description(2)
    own = segmentation.get_segment_description(200)
    assert kidney.segmented_property_type.value == "64033007"
    assert kidney.segmented_property_type.scheme_designator == "SCT"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("24028007", "Right")
    assert (own.segmented_property_type.scheme_designator, len(own.segmented_property_type.value)) == ("99TOMOSEG", 16)
    assert own.segmented_property_type.meaning == "a structure of my own"
    colour = highdicom.color.CIELabColor(*_unscaled(own.RecommendedDisplayCIELabValue))
    assert colour.to_rgb() == (10, 20, 30)
    algorithm = kidney.algorithm_identification
    assert (kidney.algorithm_type.value, algorithm.name, algorithm.version) == ("AUTOMATIC", "tomoseg", "1.2.3")
    assert algorithm.parameters == {"model_sha256": "ab" * 32}


def _unscaled(stored):
    """L, a and b of the 16-bit numbers of DICOM (PS3.3, C.10.7.1.1)."""
    lightness, a, b = (float(number) for number in stored)
    return lightness * 100 / 65535, a * 255 / 65535 - 128, b * 255 / 65535 - 128


def test_patient_and_study_are_the_scans(tmp_path, rng, caplog):
    _, segmentation = written(label_map(series(tmp_path / "ct"), rng), tmp_path)
    assert (segmentation.PatientName, segmentation.PatientID) == (NAME, PATIENT_ID)
    assert (segmentation.StudyInstanceUID, segmentation.FrameOfReferenceUID) == ("1.2.3.4", "1.2.3.5")
    assert segmentation.StudyDate == "20240131"
    assert NAME not in caplog.text
    assert not re.search(rb"2\.25\.\d{1,5}\0", (tmp_path / "out" / "seg.dcm").read_bytes())  # no stand-in is left


def test_a_scan_that_is_no_dicom_is_a_study_of_its_own(tmp_path, rng):
    affine = np.array([[0, 0, 3.0, 5], [-1.25, 0, 0, 7], [0, -2.0, 0, 9], [0, 0, 0, 1]])
    volume = Volume(np.zeros((4, 6, 5), np.int16), SourceGrid((6, 5, 4), affine))
    for result in (label_map(volume, rng), overlapping(volume, rng)):
        _, segmentation = written(result, tmp_path)
        for name, mask in read_back(segmentation, volume.source).items():
            np.testing.assert_array_equal(mask, result.mask(name))
        assert (segmentation.PatientName, segmentation.PatientID) == ("", "")
        text = str(segmentation)
        assert "Referenced SOP Instance UID" not in text
        assert "Source Image Sequence" not in text


def test_overlapping_structures_are_no_label_map(tmp_path, rng):
    volume = series(tmp_path / "ct")
    result = overlapping(volume, rng)
    with pytest.raises(
        LabelError, match="that do not overlap, since a voxel has one label, got kidney_right where spleen is"
    ):
        written(result, tmp_path, labelmap=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("labelmap", "numbers"), [(True, [1, 2, 5, 200]), (False, [1, 2, 3, 4])])
def test_nothing_found_describes_all_and_has_no_voxel(tmp_path, labelmap, numbers):
    volume = series(tmp_path / "ct")
    nothing = LabelMap(np.zeros(volume.shape, np.uint8), LABELS, volume.source)
    kind, segmentation = written(nothing, tmp_path, labelmap=labelmap)
    assert (kind, int(segmentation.pixel_array.sum())) == ("LABELMAP" if labelmap else "BINARY", 0)
    assert [s.SegmentNumber for s in segmentation.SegmentSequence if s.SegmentNumber] == numbers
    assert set(read_back(segmentation, volume.source)) == set(LABELS.names)


@pytest.mark.parametrize("labelmap", [False, True])
def test_a_real_scan(tmp_path, test_data, labelmap):
    volume = read_scan(test_data / "abdomen_dicom")
    labels = test_data / "abdomen_dicom_labels_total_v2.nii.gz"
    result = LabelMap(read_label_map(labels, volume.source), LabelSet.total(), volume.source)
    _, segmentation = written(result, tmp_path, labelmap=labelmap)
    masks = read_back(segmentation, volume.source)
    assert len(masks) == 31
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, result.mask(name))
    assert segmentation.StudyInstanceUID.startswith("2.25.")  # the files have none
