"""Where voxels lie, in every kind of file, against SimpleITK and nibabel."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.files.dicom.series import image, save
from tests.files.itk_oracle import ORIENTATIONS, TO_RAS, assert_same_place, itk_image, turned
from tomoseg.files.nifti import read_ct, read_mask, write_nifti
from tomoseg.files.scan import read_scan
from tomoseg.volume import same_grid

SPACING_MM, ORIGIN = (0.7, 1.1, 2.5), (-100.3, 20.7, 5.1)
OBLIQUE = turned(17, -23, 31)
NAMES = ["".join(nib.aff2axcodes(nib.affines.from_matvec(one * TO_RAS[:, None]))) for one in ORIENTATIONS]


@pytest.fixture
def stored(rng):
    return rng.integers(-1000, 2000, (3, 4, 5)).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
@pytest.mark.parametrize("directions", ORIENTATIONS, ids=NAMES)
def test_every_orientation_that_itk_writes(tmp_path, stored, directions, suffix):
    for name, oblique in (("straight", np.eye(3)), ("oblique", OBLIQUE)):
        written = itk_image(stored, oblique @ directions, SPACING_MM, ORIGIN)
        path = tmp_path / f"{name}{suffix}"
        SimpleITK.WriteImage(written, str(path), useCompression=name == "oblique")
        volume = read_scan(path)
        assert volume.warnings == ()
        assert_same_place(volume, written)


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_detached_files_that_itk_writes(tmp_path, stored, suffix):
    for name, compress in (("raw", False), ("coded", True)):
        written = itk_image(stored, OBLIQUE, SPACING_MM, ORIGIN)
        SimpleITK.WriteImage(written, str(tmp_path / f"{name}{suffix}"), useCompression=compress)
        assert_same_place(read_scan(tmp_path / f"{name}{suffix}"), written)


class TestNifti:
    """One header says the place by the sform, the qform, or both; what is written says it in the same way."""

    @pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1), (1, 4)], ids=["sform", "qform", "both", "codes"])
    @pytest.mark.parametrize("directions", ORIENTATIONS, ids=NAMES)
    def test_there_and_back(self, tmp_path, stored, directions, codes):
        affine = np.eye(4)
        affine[:3, :3] = (OBLIQUE @ directions * SPACING_MM) * TO_RAS[:, None]
        affine[:3, 3] = ORIGIN * TO_RAS
        made = nib.Nifti1Image(stored, None)
        made.header.set_zooms(SPACING_MM)  # which ITK takes, where the sform says how far apart voxels are
        sform_code, qform_code = codes
        if sform_code:
            made.set_sform(affine, sform_code)
        if qform_code:
            made.set_qform(affine, qform_code)
        nib.save(made, tmp_path / "ct.nii.gz")

        volume = read_ct(tmp_path / "ct.nii.gz")
        assert_same_place(volume, SimpleITK.ReadImage(str(tmp_path / "ct.nii.gz")))
        write_nifti(tmp_path / "out.nii.gz", volume.hu, volume.source)
        before, after = (nib.load(tmp_path / name) for name in ("ct.nii.gz", "out.nii.gz"))
        np.testing.assert_array_equal(np.asarray(after.dataobj), stored)
        assert after.affine.tobytes() == before.affine.tobytes()
        for field in ("sform_code", "qform_code", "pixdim", "quatern_b", "qoffset_x", "srow_x", "srow_z"):
            assert after.header[field].tobytes() == before.header[field].tobytes()

    @pytest.mark.parametrize("name", ["LPI", "PIR"])
    def test_a_mask_in_another_order_than_its_scan(self, tmp_path, stored, name):
        volume = read_ct(self.written(tmp_path / "ct.nii", stored, name))
        mask = self.written(tmp_path / "mask.nii", (stored > 300).astype(np.uint8), name)
        straight = nib.as_closest_canonical(nib.load(mask))
        nib.save(straight, tmp_path / "straight.nii")
        for path in (mask, tmp_path / "straight.nii"):
            np.testing.assert_array_equal(read_mask(path, volume.source), volume.hu > 300)

    def written(self, path, stored, name):
        straight = nib.Nifti1Image(stored, np.diag([*SPACING_MM, 1.0]))
        turn = nib.orientations.ornt_transform(nib.io_orientation(straight.affine), nib.orientations.axcodes2ornt(name))
        nib.save(straight.as_reoriented(turn), path)
        assert nib.aff2axcodes(nib.load(path).affine) == tuple(name)
        return path


angles = st.tuples(*[st.floats(-180, 180)] * 3)


@settings(max_examples=15)
@given(angles, st.sampled_from([(0.7, 1.1, 2.5), (1.0, 1.0, 0.6)]), st.randoms(use_true_random=False))
def test_a_series_in_any_direction_and_order(tmp_path_factory, degrees, edges, random):
    """Straight slices, whichever way they look: SimpleITK sorts them by place, too."""
    folder = tmp_path_factory.mktemp("series")
    stored = np.random.default_rng(7).integers(-1000, 2000, (6, 5, 4)).astype(np.int16)
    turn = turned(*degrees)
    pixel = (edges[1], edges[0])  # of rows, of columns
    slices = [
        image(one, np.array(ORIGIN) + turn[:, 2] * edges[2] * k, k, pixel, np.round(turn.T[:2].ravel(), 12).tolist())
        for k, one in enumerate(stored)
    ]
    random.shuffle(slices)
    save(slices, folder)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    volume = read_scan(folder)
    assert_same_place(volume, reader.Execute())
    np.testing.assert_array_equal(volume.source.to_slices(volume.hu), stored.transpose(2, 1, 0))


def test_a_real_series_lies_where_itk_has_it(test_data):
    folder = test_data / "abdomen_dicom"
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    volume = read_scan(folder)
    assert_same_place(volume, reader.Execute(), within_voxels=0.01)


def test_real_files_lie_where_itk_has_them(test_data):
    hostile = test_data / "hostile"
    orientations = sorted((hostile / "orientations").glob("[!s]*.nii.gz"))
    crops = sorted((hostile / "lumbar_crop").glob("*_ct.nii.gz"))
    for path in (hostile / "3DCT_lung_baseline_small.mha", hostile / "seg_examples" / "liver_seg.nrrd", *crops):
        assert_same_place(read_scan(path), SimpleITK.ReadImage(str(path)))
    for path in orientations:  # of fractional values, which are rounded
        assert_same_place(read_scan(path), SimpleITK.ReadImage(str(path)), hu=False)
    scans = [read_scan(path) for path in orientations]
    assert all(same_grid(scans[0].source, other.source) for other in scans[1:])
    assert all(np.abs(scans[0].hu.astype(int) - other.hu).max() <= 1 for other in scans[1:])
