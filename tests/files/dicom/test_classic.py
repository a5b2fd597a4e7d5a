"""Classic files of several frames, one place that is there twice, and the private compressions of scanner makers."""

import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from tests.files.dicom.series import image, save
from tomoseg.errors import GridError, InputError
from tomoseg.files.scan import read_scan


@pytest.mark.parametrize(
    ("tags", "gap"),
    [
        ({}, 3.0),
        ({"SpacingBetweenSlices": 2.5}, 2.5),
        ({"SpacingBetweenSlices": -2.5}, -2.5),
        ({"SliceLocationVector": [1, 5, 9, 13]}, 4.0),
    ],
)
def test_frames_follow_one_another(rng, tmp_path, tags, gap):
    stored = rng.integers(-1000, 1000, (4, 5, 6), np.int16)
    one = image(stored, (10, 20, 30), NumberOfFrames=4, **tags)
    volume = read_scan(save([one], tmp_path) / "000.dcm")
    np.testing.assert_array_equal(volume.hu, stored[:: 1 if gap > 0 else -1].T[::-1, ::-1])
    assert volume.spacing_mm == (1, 1, abs(gap))
    assert volume.affine[2, 3] == 30 + min(0, 3 * gap)
    (warning,) = volume.warnings
    assert warning.kind == "assumed geometry"
    assert "the position of its first frame only" in warning.message


@pytest.mark.parametrize("tags", [{"FrameTime": 40}, {"SliceThickness": None}, {"ImagePositionPatient": None}])
def test_frames_without_places(rng, tmp_path, tags):
    one = image(rng.integers(-1000, 1000, (4, 5, 6), np.int16), NumberOfFrames=4, **tags)
    path = save([one], tmp_path) / "000.dcm"
    with pytest.raises(GridError, match=r"got no usable position of each slice"):
        read_scan(path)
    assert read_scan(path, assume_spacing=(1, 1, 2)).shape == (6, 5, 4)


@pytest.mark.parametrize("assume_spacing", [None, (1, 1, 2)])
@pytest.mark.parametrize(("copies", "times"), [(2, "twice"), (3, "3 times")])
def test_one_slice_several_times_is_called_that(rng, tmp_path, copies, times, assume_spacing):
    """Whatever voxel edges are assumed; differently coded, as in two exports of one slice."""
    stored = rng.integers(-1000, 1000, (5, 6), np.int16)
    made = [image(stored, (0, 0, 5), syntax=ImplicitVRLittleEndian if k else None) for k in range(copies)]
    with pytest.raises(GridError, match=rf"got one slice {times} with identical pixels; pass one of the files"):
        read_scan(save(made, tmp_path), assume_spacing=assume_spacing)


def test_other_slices_at_one_place(rng, tmp_path):
    made = [image(rng.integers(-1000, 1000, (5, 6), np.int16), (0, 0, 5), k) for k in range(3)]
    with pytest.raises(GridError, match=r"one position 3 times with different pixels: .* --assume-spacing X Y Z"):
        read_scan(save(made, tmp_path))
    assert read_scan(tmp_path, assume_spacing=(1, 1, 2)).shape == (6, 5, 3)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [
        ("1.2.840.113619.5.2", "a private compression of GE"),
        ("1.3.46.670589.33.1.4.1", "a private compression of Philips"),
        ("1.2.3.4.5", "an unknown transfer syntax"),
    ],
)
def test_a_private_compression_is_named(rng, tmp_path, syntax, words):
    one = image(rng.integers(-1000, 1000, (5, 6), np.int16))
    one.file_meta.TransferSyntaxUID = syntax
    one.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    with pytest.raises(InputError, match=f"got {words}; export the series uncompressed"):
        read_scan(tmp_path)


def test_pixels_in_a_private_group(rng, tmp_path):
    one = image(rng.integers(-1000, 1000, (5, 6), np.int16), PixelData=None)
    one.private_block(0x07A1, "ELSCINT1", create=True).add_new(0x11, "OB", b"1234")
    with pytest.raises(InputError, match=r"whose pixels are in Philips' private compression"):
        read_scan(save([one], tmp_path))
