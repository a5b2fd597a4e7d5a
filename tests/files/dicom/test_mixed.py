"""Scans that are mixed slice by slice without a word in their headers; and identifiers that tell nothing."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from scipy import ndimage

from tests.files.dicom.scans import LABELS, PLACE
from tests.files.dicom.series import image, save
from tomoseg.errors import InputError
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.mixed import gaps_in_turn, period_of
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.scan import read_scan
from tomoseg.segmentation import LabelMap
from tomoseg.workflows.results import impossible_formats

SLICES, SIDE = 24, 64
MADE_BY = MadeBy("a" * 64)


@pytest.fixture
def body(rng):
    """A body whose outline and texture change smoothly from slice to slice, in noise of 15 HU."""
    z, y, x = np.mgrid[:SLICES, :SIDE, :SIDE]
    inside = ((x - 32) / (22 + 4 * np.sin(z / 5))) ** 2 + ((y - 30 - z / 8) / 18) ** 2 < 1
    texture = ndimage.gaussian_filter(rng.normal(0, 1, inside.shape), 3)
    tissue = 40 + 60 * texture / texture.std()
    return np.where(inside, tissue, -1000) + rng.normal(0, 15, inside.shape)


def in_turn(*scans):
    """Slice k of scan k, k + 1, ..."""
    mixed = scans[0].copy()
    for number, one in enumerate(scans):
        mixed[number :: len(scans)] = one[number :: len(scans)]
    return mixed


def saved(hu, folder, places=None, **tags):
    """Slices without anything that tells them apart, in files and numbers by place."""
    places = np.arange(len(hu)) * 2.5 if places is None else places
    return save(
        [
            image(one.round().astype(np.int16), (0, 0, float(place)), number + 1, **PLACE | tags)
            for number, (one, place) in enumerate(zip(hu, places, strict=True))
        ],
        folder,
    )


MIXED = {
    "moved by a pixel and a half": (2, lambda hu, rng: [hu, np.roll(hu, (2, 1), (1, 2))]),
    "enhanced": (2, lambda hu, rng: [hu, hu + 150.0 * (hu > 60)]),
    "a softer kernel": (2, lambda hu, rng: [hu, ndimage.gaussian_filter(hu, (0, 0.7, 0.7))]),
    "a fifth of the dose": (2, lambda hu, rng: [hu, hu + rng.normal(0, 30, hu.shape)]),
    "three times": (3, lambda hu, rng: [hu, np.roll(hu, 3, 1), np.roll(hu, -3, 1)]),
}


class TestContent:
    @pytest.mark.parametrize("what", MIXED)
    @pytest.mark.parametrize("slices", [12, SLICES])
    def test_mixed(self, body, rng, what, slices):
        period, made = MIXED[what]
        hu = in_turn(*made(body, rng))[:slices].round().astype(np.int16)
        assert period_of(hu, np.arange(slices) * 2.5) == period

    @pytest.mark.parametrize("places", [np.arange(SLICES) * 1.0, np.arange(SLICES) // 2 * 10 + np.arange(SLICES) % 2])
    def test_one_scan(self, body, places):
        assert period_of(body.round().astype(np.int16), places.astype(float)) == 1

    def test_noise_alone_is_one(self, rng):
        assert period_of(rng.integers(-1000, 1000, (9, 64, 64), np.int16), np.arange(9.0)) == 1

    def test_real_scans_are_one(self, test_data):
        for name in ("abdomen_dicom", "torso/ct.nii.gz", "total/s0009/ct.nii.gz", "reports/neck_1.17mm.nii.gz"):
            hu = np.ascontiguousarray(read_scan(test_data / name).hu.transpose(2, 1, 0))
            assert [period_of(hu[k : k + 16], np.arange(16.0)) for k in range(0, len(hu) - 15, 16)] == [1] * (
                len(hu) // 16
            )

    def test_a_real_scan_and_itself_moved(self, test_data):
        hu = read_scan(test_data / "abdomen_dicom").hu.transpose(2, 1, 0)
        assert period_of(in_turn(hu, np.roll(hu, (4, 2), (1, 2))), np.arange(20.0)) == 2


class TestChoice:
    def test_refused_with_the_choices(self, body, tmp_path):
        hu = in_turn(body, np.roll(body, 2, 1))
        folder = saved(hu, tmp_path)
        with pytest.raises(
            InputError, match=r"of 2 interleaved scans,.*--series from 2: every second slice from the first; 3: e"
        ):
            read_scan(folder)
        for series, expected in ((2, hu[::2]), (3, hu[1::2]), (4, hu)):
            volume = read_scan(folder, series=series)
            np.testing.assert_array_equal(volume.hu, expected.round().T[::-1, ::-1])
            assert volume.spacing_mm[2] == (2.5 if series == 4 else 5.0)
            assert volume.warnings == ()
        with pytest.raises(InputError, match=r"expected a series from 1 to 1, got 5; choose from 1: axial"):
            read_scan(folder, series=5)

    def test_one_scan_has_no_parts(self, body, tmp_path):
        with pytest.raises(InputError, match=r"expected a series from 1 to 1, got 2; choose from 1: axial"):
            read_scan(saved(body, tmp_path), series=2)

    def test_gaps_in_turn(self, rng, tmp_path):
        hu = rng.integers(-1000, 1000, (12, 5, 6))
        places = np.arange(12) // 2 * 5 + np.arange(12) % 2 * 1.5
        with pytest.raises(InputError, match=r"by what they show or by their gaps"):
            read_scan(saved(hu, tmp_path, places))
        assert read_scan(tmp_path, series=3).spacing_mm[2] == 5.0
        assert not gaps_in_turn(np.arange(12) * 2.5 + np.arange(12) % 2 * 0.01)

    def test_pairs_of_one_turn_are_one_scan(self, rng, tmp_path):
        places = np.arange(12) // 2 * 5 + np.arange(12) % 2 * 1.5
        folder = saved(rng.integers(-1000, 1000, (12, 5, 6)), tmp_path, places)
        for number in range(12):
            one = pydicom.dcmread(folder / f"{number:03}.dcm")
            one.AcquisitionNumber = number // 2
            one.save_as(folder / f"{number:03}.dcm")
        assert {word.kind for word in read_scan(folder).warnings} == {"uneven gaps"}

    def test_every_place_twice_and_differently(self, rng, tmp_path):
        hu = rng.integers(-1000, 1000, (12, 5, 6))
        folder = saved(hu, tmp_path, np.arange(12) // 2 * 2.5)
        with pytest.raises(InputError, match=r"got 6 of 6 positions twice with different pixels,.*with --series 1"):
            read_scan(folder)
        np.testing.assert_array_equal(read_scan(folder, series=1).hu, hu[::2].T[::-1, ::-1])


class TestIdentifiers:
    def check_is_not_referred_to(self, volume, path, why):
        values = np.zeros(volume.shape, np.uint8)
        with pytest.raises(InputError, match=why):
            write_seg(LabelMap(values, LABELS, volume.source), source_series(volume.source, "ct"), path, MADE_BY)
        assert not path.exists()
        for name in ("dicom-seg", "dicom-seg-labelmap", "rtstruct"):
            with pytest.raises(InputError, match=why):
                impossible_formats(volume.source, [name], path)
            (reason,) = impossible_formats(volume.source, ["nifti", name], path).values()
            assert why in reason
        assert impossible_formats(volume.source, ["nifti", "nrrd", "stl"], path) == {}

    def test_a_series_for_each_slice(self, rng, tmp_path):
        hu = rng.integers(-1000, 1000, (5, 5, 6))
        save_each(saved(hu, tmp_path / "in"), "SeriesInstanceUID")
        volume = read_scan(tmp_path / "in")
        np.testing.assert_array_equal(volume.hu, hu.T[::-1, ::-1])
        assert [word.kind for word in volume.warnings] == ["headers"]
        self.check_is_not_referred_to(volume, tmp_path / "a.dcm", "each slice has its own SeriesInstanceUID")

    @pytest.mark.parametrize("other", ["StudyInstanceUID", "FrameOfReferenceUID"])
    def test_a_study_for_each_slice_is_refused(self, rng, tmp_path, other):
        folder = saved(rng.integers(-1000, 1000, (5, 5, 6)), tmp_path)
        save_each(folder, "SeriesInstanceUID", other)
        with pytest.raises(InputError, match=r"got 5 slices, each in its own series"):
            read_scan(folder)
        assert read_scan(folder, series=2).shape == (6, 5, 1)

    def test_uneven_places_are_refused(self, rng, tmp_path):
        folder = saved(rng.integers(-1000, 1000, (5, 5, 6)), tmp_path, [0, 1, 7, 8.5, 30])
        save_each(folder, "SeriesInstanceUID")
        with pytest.raises(InputError, match=r"got 5 slices, each in its own series"):
            read_scan(folder)

    def test_one_identifier_for_all_slices(self, rng, tmp_path):
        hu = rng.integers(-1000, 1000, (5, 5, 6))
        volume = read_scan(saved(hu, tmp_path / "in", SOPInstanceUID="1.2.3.4"))
        np.testing.assert_array_equal(volume.hu, hu.T[::-1, ::-1])
        assert [word.kind for word in volume.warnings] == ["headers"]
        self.check_is_not_referred_to(volume, tmp_path / "a.dcm", "5 of 5 slices share a SOPInstanceUID with another")


def save_each(folder, *keywords):
    """Give each slice identifiers of its own."""
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        for keyword in keywords:
            setattr(one, keyword, generate_uid())
        one.save_as(path)
