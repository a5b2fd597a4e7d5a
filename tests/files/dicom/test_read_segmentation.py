"""DICOM segmentations in, as we write them and as highdicom makes them."""

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from tests.files.dicom.scans import LABELS, PLACE, TURNED, label_map, overlapping, series
from tests.files.dicom.series import image, save
from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.dicom.headers import without_pydicom_warnings
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.read_segmentation import read_segmentation
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.label_files import label_stem, label_suffix, needs_scan, open_segments, read_geometry, segment_values
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet
from tomoseg.segmentation import LabelMap
from tomoseg.volume import SourceGrid, Volume, same_grid

MADE_BY = MadeBy("ab" * 32, "1.2.3", "head-neck")
EMPTY = dict.fromkeys(
    (
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyTime",
        "ReferringPhysicianName",
        "PositionReferenceIndicator",
    ),
    "",
)


def written(result, path, **options):
    write_seg(result, source_series(result.grid, "scan"), path, MADE_BY, **options)
    return path


def changed(path, **tags):
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    with without_pydicom_warnings():
        dataset.save_as(path)
    return path


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), TURNED, (0, 1, 0, 0, 0, -1)])
@pytest.mark.parametrize("kind", ["binary", "overlapping", "labelmap"])
def test_our_own_come_back(tmp_path, rng, orientation, kind):
    normal = np.cross(orientation[:3], orientation[3:])
    volume = series(tmp_path / "ct", [tuple(normal * 2.5 * k) for k in (2, 0, 1, 3)], orientation=orientation)
    result = (overlapping if kind == "overlapping" else label_map)(volume, rng)
    path = written(result, tmp_path / "a.dcm", labelmap=kind == "labelmap")
    names = ("spleen", "kidney_right", "a structure of my own")
    ids = (1, 2, 200)
    assert segment_values(path) == {n: (i,) if kind == "labelmap" else () for n, i in zip(names, ids, strict=True)}
    plain = SourceGrid(volume.source.shape, volume.source.affine)
    assert same_grid(read_geometry(path), plain)
    assert not needs_scan(path)
    for grid in (volume.source, plain, None):
        segments = open_segments(path, grid)
        assert segments.names == names
        for name in names:
            np.testing.assert_array_equal(segments.mask(name), result.mask(name))


@pytest.mark.parametrize(
    "places", [[(0, 0, 0), (0, 1, 3), (0, 2, 6)], [0, 1, 2.4, 5]], ids=["tilted gantry", "uneven gaps"]
)
def test_planes_that_are_no_grid_are_read_onto_their_scan(tmp_path, rng, places):
    volume = series(tmp_path / "ct", places)
    result = label_map(volume, rng)
    path = written(result, tmp_path / "a.seg.dcm")
    assert needs_scan(path)
    with pytest.raises(GridError, match=r"at even distances, got .*planes.*; use it with the DICOM scan"):
        read_geometry(path)
    slices = volume.source.slices
    segments = open_segments(path, volume.source)
    for name in segments.names:
        on_slices = slices.to_slices(volume.source.from_canonical(result.mask(name)))
        again = slices.to_slices(volume.source.from_canonical(segments.mask(name)))
        nearest = [np.abs(slices.offsets_voxels[:, 2] - k).argmin() for k in range(volume.source.shape[2])]
        kept = sorted(set(nearest))  # a slice that is no plane's nearest is on none
        np.testing.assert_array_equal(again[:, :, kept], on_slices[:, :, kept])


def test_planes_without_a_frame_are_empty_and_a_part_of_the_scan_is_put_in_its_place(tmp_path):
    volume = series(tmp_path / "ct", range(9))
    values = np.zeros(volume.shape, np.uint8)
    values[2, 3, [2, 6]] = 1
    values[4, 4, 4] = 2
    result = LabelMap(values, LABELS, volume.source)
    path = written(result, tmp_path / "a.seg.dcm")
    assert read_geometry(path).canonical_shape == (*volume.shape[:2], 5)
    for change in ({}, {"SharedFunctionalGroupsSequence": None}):
        if change:  # without the distance of slices: the smallest that occurs, here two of the scan's
            dataset = pydicom.dcmread(path)
            measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
            del measures.SpacingBetweenSlices, measures.SliceThickness
            dataset.save_as(path)
            assert read_geometry(path).canonical_shape == (*volume.shape[:2], 3)
        segments = open_segments(path, volume.source)
        np.testing.assert_array_equal(segments.mask("spleen"), values == 1)
        np.testing.assert_array_equal(segments.mask("kidney_right"), values == 2)
    with pytest.raises(GridError, match=r"expected the grid of the scan"):
        open_segments(path, SourceGrid((9, 7, 9), np.diag([1.0, 1, 1, 1])))


def test_a_scan_that_was_no_dicom(tmp_path, rng):
    affine = np.array([[-0.9, 0.2, 0, 5], [0.2, 0.9, 0, 7], [0, 0, -3, 9], [0, 0, 0, 1.0]])
    result = label_map(Volume.from_array(np.zeros((6, 5, 7), np.int16), affine), rng)
    segments = open_segments(written(result, tmp_path / "a.dcm"), result.grid)
    for name in segments.names:
        np.testing.assert_array_equal(segments.mask(name), result.mask(name))


def made(folder, pixels, kind, syntax, places=range(3), **options):
    """What highdicom makes of pixels: a frame, row, column and segment each."""
    rows, columns = pixels.shape[1:3]
    stored = np.zeros((rows, columns), np.int16)
    images = [
        image(stored, position=(-3.25, 11.5, 2.5 * k), number=k + 1, pixel=(1.5, 1.25), **PLACE, **EMPTY)
        for k in places
    ]
    save(images, folder / "ct")
    segments = [
        highdicom.seg.SegmentDescription(number + 1, label, codes.SCT.Organ, codes.SCT.Organ, "MANUAL")
        for number, label in enumerate(("Lung L/R", "Herz groß")[: pixels.shape[3]])
    ]
    with without_pydicom_warnings():
        dataset = highdicom.seg.Segmentation(
            images,
            pixels,
            kind,
            segments,
            "1.2.9",
            1,
            "1.2.10",
            1,
            "maker",
            "model",
            "1",
            "none",
            transfer_syntax_uid=ExplicitVRLittleEndian if syntax == RLELossless else syntax,
            **options,
        )
        dataset.SpecificCharacterSet = "ISO_IR 192"
        if syntax == RLELossless:
            dataset.compress(RLELossless, encoding_plugin="pydicom")
        dataset.save_as(folder / "any name")
    return folder / "any name"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_fractions_from_half_on_whatever_they_are_coded_with(tmp_path, rng, syntax):
    shares = rng.integers(0, 201, (3, 8, 10, 2)).repeat(4, 1).repeat(4, 2) / 200  # coders need some room
    path = made(tmp_path, shares, "FRACTIONAL", syntax, max_fractional_value=200)
    assert (label_suffix(path), label_stem(path)) == (".seg.dcm", "any name")
    volume = read_scan(tmp_path / "ct")
    segments = open_segments(path, volume.source)
    assert segments.names == ("Lung L_R", "Herz groß")
    for number, name in enumerate(segments.names):
        expected = volume.source.to_canonical((shares[..., number] >= 0.5).T)
        np.testing.assert_array_equal(segments.mask(name), expected)


def test_binary_as_highdicom_makes_it(tmp_path, rng):
    pixels = (rng.random((3, 7, 9, 2)) < 0.5).astype(np.uint8)
    pixels[1, ..., 0] = 0  # a frame that is left out
    path = made(tmp_path, pixels, "BINARY", ExplicitVRLittleEndian)
    volume = read_scan(tmp_path / "ct")
    segments = open_segments(path, volume.source)
    for number, name in enumerate(segments.names):
        np.testing.assert_array_equal(segments.mask(name), volume.source.to_canonical(pixels[..., number].T != 0))


def test_what_is_wrong_is_said(tmp_path, rng):
    volume = series(tmp_path / "ct")
    result = label_map(volume, rng)
    path = written(result, tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence[1].SegmentLabel = "spleen"
    dataset.save_as(path)
    with pytest.raises(LabelError, match="expected each segment's label once, got spleen twice; rename one"):
        segment_values(path)
    changed(written(result, path), SegmentationType="SURFACE")
    with pytest.raises(InputError, match="expected a BINARY, FRACTIONAL or LABELMAP segmentation, got another"):
        segment_values(path)
    changed(written(result, path), PixelData=b"\0\0")
    with pytest.raises(InputError, match=r"expected \d+ bytes of pixels or more, got 2; it is cut short"):
        open_segments(path, volume.source).mask("spleen")
    path.write_bytes(written(result, path).read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.dcm: expected"):
        segment_values(path)


def test_frames_of_unlisted_segments_and_planes_far_away_are_refused(tmp_path, rng):
    volume = series(tmp_path / "ct")
    path = written(label_map(volume, rng), tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence = dataset.SegmentSequence[:2]
    dataset.save_as(path)
    with pytest.raises(LabelError, match="expected frames of the segments that it lists, got others"):
        open_segments(path)
    path = written(label_map(volume, rng), tmp_path / "a.dcm", labelmap=True)
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence = [one for one in dataset.SegmentSequence if one.SegmentNumber != 200]
    dataset.save_as(path)
    with pytest.raises(LabelError, match="expected only pixels of the 2 segments that it lists, got the values 200"):
        open_segments(path).mask("spleen")
    frame = dataset.PerFrameFunctionalGroupsSequence[0]
    frame.PlanePositionSequence[0].ImagePositionPatient = [-3.25, 11.5, 50_000]
    dataset.save_as(path)
    with pytest.raises(GridError, match="expected up to 4096 planes, got one that lies farther away"):
        open_segments(path)
    del frame.PlanePositionSequence
    dataset.save_as(path)
    with pytest.raises(GridError, match="expected a position, orientation and pixel"):
        open_segments(path)


def test_frames_must_be_parallel(tmp_path, rng):
    path = written(label_map(series(tmp_path / "ct"), rng), tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    turned = pydicom.Dataset()
    turned.ImageOrientationPatient = list(TURNED)
    dataset.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = [turned]
    dataset.save_as(path)
    with pytest.raises(GridError, match="expected parallel frames of one pixel size, got others"):
        read_segmentation(path)


def test_a_single_plane_has_its_thickness(tmp_path):
    volume = series(tmp_path / "ct")
    values = np.zeros(volume.shape, np.uint8)
    values[2:4, 3, 2] = 1
    result = LabelMap(values, LabelSet.total().subset(["spleen"]), volume.source)
    path = written(result, tmp_path / "a.dcm")
    assert read_geometry(path).spacing_mm[2] == pytest.approx(2.5)
    np.testing.assert_array_equal(open_segments(path, volume.source).mask("spleen"), values == 1)
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
    dataset.save_as(path)
    with pytest.raises(GridError, match="expected the distance between slices, got one plane without"):
        open_segments(path)
    np.testing.assert_array_equal(open_segments(path, volume.source).mask("spleen"), values == 1)
