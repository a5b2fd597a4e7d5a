import numpy as np
import pytest

from tomoseg.checks.scan import check_scan
from tomoseg.files.nifti import read_ct
from tomoseg.volume import Volume


def scan(low, high, spacing=(0.8, 0.8, 2.0)):
    hu = np.full((4, 4, 4), low, np.int16)
    hu[1:3, 1:3, 1:3] = high
    return Volume.from_array(hu, np.diag([*spacing, 1.0]))


@pytest.mark.parametrize(("low", "high"), [(-1024, 3071), (-200, 100), (-32768, 32767)])
def test_an_ordinary_scan_has_no_warning(low, high):
    assert check_scan(scan(low, high)) == ()


@pytest.mark.parametrize(
    ("low", "high", "sentences"),
    [
        (0, 0, ["Every voxel is 0 HU, a scan was expected."]),
        (-1024, -1024, ["Every voxel is -1024 HU, a scan was expected."]),
        (-199, 1500, ["The lowest value is -199 HU, air near -1000 was expected."]),
        (-1000, 99, ["The highest value is 99 HU, bone or contrast above 100 was expected."]),
        (0, 1, ["The lowest value is 0 HU", "The highest value is 1 HU"]),
    ],
)
def test_values_that_are_hardly_hu(low, high, sentences):
    warnings = check_scan(scan(low, high))
    assert len(warnings) == len(sentences)
    for warning, sentence in zip(warnings, sentences, strict=True):
        assert warning.startswith(sentence)


@pytest.mark.parametrize("spacing", [(0.2, 0.2, 0.2), (10, 10, 10), (0.5, 0.5, 10)])
def test_spacing_at_the_limits_is_ordinary(spacing):
    assert check_scan(scan(-1000, 1000, spacing)) == ()


@pytest.mark.parametrize(
    ("spacing", "text"), [((0.1, 0.8, 2), "0.1 x 0.8 x 2 mm"), ((0.8, 0.8, 10.5), "0.8 x 0.8 x 10.5 mm")]
)
def test_extreme_spacing(spacing, text):
    (warning,) = check_scan(scan(-1000, 1000, spacing))
    assert warning.startswith(f"Voxels measure {text}, edges from 0.2 to 10 mm were expected.")


def test_real_scans(test_data):
    assert check_scan(read_ct(test_data / "torso" / "ct.nii.gz")) == ()
    (warning,) = check_scan(read_ct(test_data / "hostile" / "orientations" / "RAS.nii.gz"))[:1]
    assert warning.startswith("The lowest value is 0 HU")
