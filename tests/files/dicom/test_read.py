import numpy as np
import pytest
from scipy import ndimage

from tests.files.dicom.series import BIRTH, NAME, PATIENT_ID, image, save
from tomoseg.errors import GridError, InputError
from tomoseg.files.nifti import read_label_map
from tomoseg.files.scan import read_scan
from tomoseg.files.stack import AIR_HU

POSITION = (-10.0, -20.0, 30.0)
SAGITTAL = (0, 1, 0, 0, 0, -1)


def axial(rng, count=4, gap=2.0, shape=(5, 6), **tags):
    """Slices of noise and their stored values; LPS position and spacing that are easy to follow."""
    stored = rng.integers(-1000, 1000, (count, *shape), np.int16)
    places = [(*POSITION[:2], POSITION[2] + gap * k) for k in range(count)]
    return [
        image(s, p, k + 1, (0.5, 0.75), **tags) for k, (s, p) in enumerate(zip(stored, places, strict=True))
    ], stored


class TestOneSeries:
    def test_slices_are_sorted_and_turned_to_ras(self, rng, tmp_path):
        slices, stored = axial(rng)
        volume = read_scan(save([slices[k] for k in (2, 0, 3, 1)], tmp_path))
        assert volume.warnings == ()
        # LPS to RAS: x and y change their sign; columns run to the patient's left, so index 0 is the last one
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
        assert volume.spacing_mm == (0.75, 0.5, 2.0)
        np.testing.assert_array_equal(volume.affine[:3, 3], (10 - 5 * 0.75, 20 - 4 * 0.5, 30))
        np.testing.assert_array_equal(volume.source.affine[:3, 3], (10, 20, 30))
        assert [one.path.name for one in volume.source.slices.images] == ["001.dcm", "003.dcm", "000.dcm", "002.dcm"]

    def test_masks_go_back_onto_the_slices(self, rng, tmp_path):
        slices, stored = axial(rng)
        volume = read_scan(save(slices, tmp_path))
        np.testing.assert_array_equal(volume.source.to_slices(volume.hu > 0), stored.transpose(2, 1, 0) > 0)

    def test_every_slice_has_its_own_scale(self, tmp_path):
        stored = np.full((2, 3), 100, np.uint16)
        scales = [(1, -1024), (2, -1000), (0.5, 0.3)]
        slices = [
            image(stored, (0, 0, k), k, RescaleSlope=slope, RescaleIntercept=intercept)
            for k, (slope, intercept) in enumerate(scales)
        ]
        assert read_scan(save(slices, tmp_path)).hu[0, 0].tolist() == [-924, -800, 50]

    @pytest.mark.parametrize(
        ("values", "tags", "expected"),
        [
            ([-2000, 5], {"PixelPaddingValue": -2000}, [AIR_HU, 5]),
            ([-2000, -1990, 5], {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1985}, [AIR_HU, AIR_HU, 5]),
            ([-2000, 5], {}, [-2000, 5]),
        ],
    )
    def test_padding_is_air(self, tmp_path, values, tags, expected):
        stored = np.array([values], np.int16)
        slices = [image(stored, (0, 0, k), k, **tags) for k in (0, 1)]
        assert read_scan(save(slices, tmp_path)).hu[::-1, 0, 0].tolist() == expected

    def test_unused_bits_are_not_taken_for_pixels(self, tmp_path):
        stored = np.array([[0x1005, 0xF010]], np.uint16)  # an overlay in the four high bits
        slices = [image(stored, (0, 0, k), k, BitsStored=12, HighBit=11) for k in (0, 1)]
        assert read_scan(save(slices, tmp_path)).hu[::-1, 0, 0].tolist() == [5, 16]

    def test_without_a_scale_a_word(self, rng, tmp_path):
        slices, _ = axial(rng, RescaleSlope=None, RescaleIntercept=None, RescaleType=None)
        (warning,) = read_scan(save(slices, tmp_path)).warnings
        assert "The slices give no rescale slope or intercept; 1 and 0 were used." in warning.message

    def test_nested_folders_and_strangers(self, rng, tmp_path):
        slices, stored = axial(rng)
        save(slices[:2], tmp_path / "a" / "b")
        save(slices[2:], tmp_path / "c")
        (tmp_path / "README").write_text("no DICOM")
        volume = read_scan(tmp_path)
        assert tuple(map(str, volume.warnings)) == (f"{tmp_path}: Left out: files that are not DICOM (1).",)
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])

    def test_a_single_file(self, rng, tmp_path):
        slices, _ = axial(rng)
        volume = read_scan(save(slices, tmp_path) / "001.dcm")
        assert (volume.shape, volume.spacing_mm) == ((6, 5, 1), (0.75, 0.5, 3.0))

    def test_a_cut_file_is_named_by_its_place(self, rng, tmp_path):
        slices, _ = axial(rng)
        save(slices, tmp_path)
        cut = tmp_path / "002.dcm"
        cut.write_bytes(cut.read_bytes()[:-10])
        with pytest.raises(InputError, match=r"slice 3 of 4: expected (60 bytes of pixels|a whole DICOM file)"):
            read_scan(tmp_path)

    @pytest.mark.parametrize("modality", ["MR", "PT", "NM", "US"])
    def test_no_ct_is_refused_by_its_modality(self, rng, tmp_path, modality):
        slices, _ = axial(rng, Modality=modality)
        with pytest.raises(InputError, match=rf"expected CT slices, got images of modality {modality} \(4\); check"):
            read_scan(save(slices, tmp_path))

    def test_an_empty_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"expected a folder with one scan, got none; check the path"):
            read_scan(tmp_path)


class TestSeveralSeries:
    def test_the_largest_axial_one_is_taken_and_all_are_listed(self, rng, tmp_path):
        small, _ = axial(rng, count=3, SeriesInstanceUID="1.2.3", SeriesNumber=1)
        large, stored = axial(rng, count=5)
        sagittal = [
            image(np.zeros((5, 6), np.int16), (k, 0, 0), k, (1, 1), SAGITTAL, SeriesInstanceUID="1.2.4", SeriesNumber=7)
            for k in range(9)
        ]
        for number, series in enumerate((small, sagittal, large)):
            save(series, tmp_path / str(number))
        volume = read_scan(tmp_path)
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
        assert tuple(map(str, volume.warnings)) == (
            f"{tmp_path}: 3 series were found (1: axial, 3 images of 6 x 5 at 0.75 mm (series number 1); "
            "2: axial, 5 images of 6 x 5 at 0.75 mm (series number 2); "
            "3: sagittal, 9 images of 6 x 5 at 1 mm (series number 7)); "
            "the largest axial one, number 2, was used. Choose another with --series.",
        )
        assert read_scan(tmp_path, series=1).shape == (6, 5, 3)
        assert read_scan(tmp_path, series=3).shape == (9, 6, 5)
        with pytest.raises(InputError, match=r"expected a series from 1 to 3, got 4; choose from 1: axial"):
            read_scan(tmp_path, series=4)

    def test_localizers_and_captures_are_left_out(self, rng, tmp_path):
        slices, _ = axial(rng)
        other = np.zeros((50, 60), np.int16)
        localizer = image(other, (0, 0, 0), 9, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesNumber=1)
        sheet = image(
            other, number=10, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None, SeriesNumber=999
        )
        volume = read_scan(save([localizer, *slices, sheet], tmp_path))
        assert tuple(map(str, volume.warnings)) == (f"{tmp_path}: Left out: localizers (1), screen captures (1).",)
        assert volume.shape == (6, 5, 4)

    @pytest.mark.parametrize(
        "other", [{"orientation": (1, 0, 0, 0, 0.8, 0.6)}, {"stored": np.zeros((3, 3), np.int16)}, {"pixel": (2, 2)}]
    )
    def test_mixed_sizes_and_orientations_are_told_apart(self, rng, tmp_path, other):
        slices, _ = axial(rng)
        odd = image(**{"stored": np.zeros((5, 6), np.int16), "number": 9, "pixel": (0.5, 0.75)} | other)
        volume = read_scan(save([*slices, odd], tmp_path))
        assert volume.shape == (6, 5, 4)
        assert "2 series were found" in volume.warnings[0].message

    @pytest.mark.parametrize("keyword", ["AcquisitionNumber", "TemporalPositionIdentifier", "ConvolutionKernel"])
    def test_phases_in_one_series_are_told_apart(self, rng, tmp_path, keyword):
        one, stored = axial(rng, **{keyword: "1"})
        other, _ = axial(rng, **{keyword: "2"})
        save([*one, *other], tmp_path)
        with pytest.raises(
            InputError, match=r"expected one scan in a series, got 2 .* with --series from 1: axial, .*; 2: ax"
        ):
            read_scan(tmp_path)
        volume = read_scan(tmp_path, series=1)
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
        assert volume.warnings == ()

    def test_blocks_that_meet_stay_together(self, rng, tmp_path):
        slices, _ = axial(rng, count=6)
        for number, one in enumerate(slices):
            one.AcquisitionNumber = 1 + number // 3
        again = image(slices[3].pixel_array, slices[3].ImagePositionPatient, 7, (0.5, 0.75), AcquisitionNumber=1)
        volume = read_scan(save([*slices, again], tmp_path))
        assert volume.shape == (6, 5, 6)
        (warning,) = volume.warnings
        assert "Left out: 1 slice of 7, at the position of another." in warning.message

    def test_repeated_slices_that_differ_are_named(self, rng, tmp_path):
        slices, stored = axial(rng)
        other = image(np.zeros((5, 6), np.int16), slices[1].ImagePositionPatient, 9, (0.5, 0.75))
        volume = read_scan(save([*slices, other], tmp_path))
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
        assert (
            "1 of the slices left out differ from the one kept at their position, which" in volume.warnings[1].message
        )

    @pytest.mark.parametrize(
        ("tags", "whose"),
        [({"PatientID": "another"}, "2 patients"), ({"StudyInstanceUID": "1.2.8"}, "2 studies of a patient")],
    )
    @pytest.mark.parametrize("series", [{"SeriesInstanceUID": "1.2.9"}, {}], ids=["another series", "one series"])
    def test_several_patients_or_studies_are_refused_with_the_choices(self, rng, tmp_path, tags, whose, series):
        slices, stored = axial(rng)
        other, _ = axial(rng, count=2, **series, **tags)
        save([*slices, *other], tmp_path)
        with pytest.raises(
            InputError, match=rf"expected one scan, got those of {whose}; .* from 1: axial, .*; 2: axi"
        ) as caught:
            read_scan(tmp_path)
        assert not {"another", PATIENT_ID} & set(str(caught.value).split())
        first, second = sorted((read_scan(tmp_path, series=number) for number in (1, 2)), key=lambda one: one.shape)
        assert first.shape == (6, 5, 2)
        np.testing.assert_array_equal(second.hu, stored.transpose(2, 1, 0)[::-1, ::-1])


class TestGeometry:
    def test_missing_slices_are_named_and_interpolated(self, rng, tmp_path):
        slices, stored = axial(rng, count=5)
        del slices[2]
        volume = read_scan(save(slices, tmp_path))
        assert "1 slice is missing (after slice 2 of 4 in order of position, 2 mm" in volume.warnings[0].message
        mean = np.rint((stored[1].astype(float) + stored[3]) / 2)
        np.testing.assert_allclose(volume.hu[..., 2], mean.T[::-1, ::-1], rtol=0, atol=0.5)

    def test_a_tilted_phantom_comes_back_straight(self, tmp_path):
        """A tube along the patient's axis, scanned with a tilted gantry, is a straight tube again."""
        degrees, gap, pixel, size = 18.0, 3.0, 0.8, 64
        turn = np.radians(degrees)
        orientation = (1, 0, 0, 0, np.cos(turn), np.sin(turn))
        slices = []
        for k in range(16):
            position = np.array([-25.6, -25.6, -24.0 + gap * k])  # the table moves along the patient, not the normal
            i, j = np.meshgrid(np.arange(size) * pixel, np.arange(size) * pixel)
            x, y = position[0] + i, position[1] + j * np.cos(turn)
            inside = 1 / (1 + np.exp((np.hypot(x - 3, y + 2) - 12) / 0.8))  # a soft edge: sampled without aliasing
            slices.append(image((inside * 1000).astype(np.int16), position, k, (pixel, pixel), orientation))
        volume = read_scan(save(slices, tmp_path))
        (warning,) = volume.warnings
        assert "The gantry was tilted by 18.0 degrees against the table" in warning.message

        def centre(z_mm):
            """Of the tube where it crosses a height, on the straight grid, in RAS+ mm."""
            x, y = np.meshgrid(np.arange(-23, 17.1, 0.4), np.arange(-18, 22.1, 0.4), indexing="ij")
            points = np.stack([x, y, np.full_like(x, z_mm), np.ones_like(x)]).reshape(4, -1)
            index = (np.linalg.inv(volume.affine) @ points)[:3]
            mass = ndimage.map_coordinates(np.maximum(volume.hu, 0).astype(float), index, order=1).reshape(x.shape)
            return np.array([(x * mass).sum(), (y * mass).sum()]) / mass.sum()

        for z_mm in (-6.0, 0.0, 4.5, 9.0):
            assert np.abs(centre(z_mm) - (-3, 2)).max() < pixel / 10  # LPS 3, -2

    def test_masks_return_onto_tilted_and_uneven_slices(self, rng, tmp_path):
        """A slice that is itself the mask's source shows it again to within half a voxel."""
        places = np.array([0, 3, 6, 7.5, 12, 16.5])
        y = np.arange(30) * 1.0
        slices = []
        for k, z in enumerate(places):
            stored = np.where(y[:, None] + 0.25 * z < 15, 500, -500) * np.ones((1, 8))
            slices.append(image(stored.astype(np.int16), (0, 0.25 * z, z), k))
        volume = read_scan(save(slices, tmp_path))
        back = volume.source.to_slices(volume.hu > 0)
        for k, z in enumerate(places):
            rows = int(np.count_nonzero(y + 0.25 * z < 15))
            assert abs(int(back[4, :, k].sum()) - rows) <= 1

    def test_a_real_tilted_head_is_straight(self, test_data):
        volume = read_scan(test_data / "hostile" / "head_tilted_uneven_gaps")
        assert volume.shape == (512, 611, 37)
        assert "Gaps between slices are uneven (1.08, 4, 7 mm)" in volume.warnings[0].message
        assert "tilted by 18.5 degrees" in volume.warnings[1].message
        back = volume.source.to_slices(volume.hu > 200)
        assert back.shape == (512, 512, 28)

    @pytest.mark.parametrize(
        ("tags", "lacking", "assumed"),
        [
            ({"PixelSpacing": None}, "pixel spacing", "pixels of 0.75 x 0.5 mm."),
            (
                {"ImageOrientationPatient": None},
                "orientation",
                "columns to the patient's left and rows to the back. Left",
            ),
            (
                {"ImagePositionPatient": None},
                "position of each slice",
                "slices 2 mm apart, from the head down by number.",
            ),
            ({"PixelSpacing": [0.0, 1.0]}, "pixel spacing", "pixels of 0.75 x 0.5 mm."),
            ({"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]}, "orientation", "columns to the patient's left"),
            ({"ImagePositionPatient": [0, 0, 0]}, "position of each slice", "slices 2 mm apart"),
        ],
    )
    def test_unknown_geometry_is_refused_unless_it_is_assumed(self, rng, tmp_path, tags, lacking, assumed):
        slices, stored = axial(rng, **tags)
        save(slices, tmp_path)
        with pytest.raises(
            GridError, match=rf"got no usable {lacking}; give the voxel size in mm with --assume-spacing"
        ):
            read_scan(tmp_path)
        volume = read_scan(tmp_path, assume_spacing=(0.75, 0.5, 2.0))
        assert volume.spacing_mm == (0.75, 0.5, 2.0)
        (warning,) = volume.warnings
        assert f"No usable {lacking}; assumed: {assumed}" in warning.message
        by_number = lacking == "position of each slice"  # positions go up from the feet, numbers are taken to go down
        np.testing.assert_array_equal(volume.hu, (stored[::-1] if by_number else stored).transpose(2, 1, 0)[::-1, ::-1])
        assert all((image.position_mm is None) == by_number for image in volume.source.slices.images)

    def test_only_what_lacks_is_assumed(self, rng, tmp_path):
        """Known positions, pixels and orientation stay, whatever is given for them."""
        save(axial(rng, ImageOrientationPatient=None)[0], tmp_path / "a")
        assert read_scan(tmp_path / "a", assume_spacing=(9.0, 9.0, 9.0)).spacing_mm == (0.75, 0.5, 2.0)
        tags = {"ImagePositionPatient": None, "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
        save(axial(rng, **tags)[0], tmp_path / "b")
        sagittal = read_scan(tmp_path / "b", assume_spacing=(9.0, 9.0, 3.0))
        assert sagittal.spacing_mm == (3.0, 0.75, 0.5)

    def test_one_slice_without_a_position_leaves_none_of_them(self, rng, tmp_path):
        slices, _ = axial(rng)
        del slices[1].ImagePositionPatient
        save(slices, tmp_path)
        volume = read_scan(tmp_path, assume_spacing=(9.0, 9.0, 3.0))
        assert volume.spacing_mm == (0.75, 0.5, 3.0)
        assert {image.position_mm for image in volume.source.slices.images} == {None}

    def test_a_single_slice_without_thickness(self, rng, tmp_path):
        save(axial(rng, count=1, SliceThickness=None)[0], tmp_path)
        with pytest.raises(GridError, match=r"got no usable slice thickness"):
            read_scan(tmp_path)
        assert read_scan(tmp_path, assume_spacing=(9.0, 9.0, 4.0)).spacing_mm == (0.75, 0.5, 4.0)


class TestPrivacy:
    def test_nothing_of_the_patient_is_told(self, rng, tmp_path):
        slices, _ = axial(rng, count=5)
        other, _ = axial(rng, count=2, SeriesInstanceUID="1.2.9")
        save([slices[0], slices[1], slices[4], *other], tmp_path / "in")
        volume = read_scan(tmp_path / "in")
        told = " ".join(map(str, volume.warnings)) + repr(volume.source.slices)
        secrets = [NAME, "SECRET", PATIENT_ID, BIRTH, "1.2.9", slices[0].SeriesInstanceUID, slices[0].SOPInstanceUID]
        assert len(volume.warnings) == 2
        assert [secret for secret in secrets if secret in told] == []


class TestRealSeries:
    def test_an_abdomen_lies_where_its_label_map_does(self, test_data):
        volume = read_scan(test_data / "abdomen_dicom")
        assert volume.warnings == ()
        labels = read_label_map(test_data / "abdomen_dicom_labels_total_v2.nii.gz", volume.source, "the series")
        liver = volume.hu[labels == 5]  # id 5 in the published set
        assert 0 < np.median(liver) < 150
