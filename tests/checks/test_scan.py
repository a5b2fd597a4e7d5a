from dataclasses import replace

import numpy as np
import pytest

from tests.checks.bodies import body
from tomoseg.checks.scan import check_scan, inspect_scan, refuse_warnings
from tomoseg.errors import InputError
from tomoseg.files.nifti import read_ct
from tomoseg.notices import Notice
from tomoseg.volume import Volume


def scan(low, high, spacing=(0.8, 0.8, 5.0)):
    hu = np.full((4, 4, 4), low, np.int16)
    hu[1:3, 1:3, 1:3] = high
    return Volume.from_array(hu, np.diag([*spacing, 1.0]))


def kinds(volume):
    return [notice.kind for notice in check_scan(volume)]


@pytest.mark.parametrize(("low", "high"), [(-1024, 3071), (-200, 100), (-32768, 32767)])
def test_an_ordinary_small_scan_has_no_warning(low, high):
    assert check_scan(scan(low, high)) == ()


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0, 0, "Every voxel is 0 HU; expected a scan."),
        (-1024, -1024, "Every voxel is -1024 HU; expected a scan."),
        (-199, 1500, "The lowest value is -199 HU; expected air near -1000."),
        (-1000, 99, "The highest value is 99 HU; expected bone or contrast above 100."),
    ],
)
def test_values_that_are_hardly_hu(low, high, sentence):
    (warning,) = check_scan(scan(low, high))
    assert warning.message.startswith(sentence)


@pytest.mark.parametrize("spacing", [(0.2, 0.2, 4), (10, 10, 10), (0.5, 0.5, 10)])
def test_spacing_at_the_limits_is_ordinary(spacing):
    assert check_scan(scan(-1000, 1000, spacing)) == ()


@pytest.mark.parametrize(
    ("spacing", "text"), [((0.1, 0.8, 4), "0.1 x 0.8 x 4 mm"), ((0.8, 0.8, 10.5), "0.8 x 0.8 x 10.5 mm")]
)
def test_extreme_spacing(spacing, text):
    (warning,) = check_scan(scan(-1000, 1000, spacing))
    assert warning.message.startswith(f"Voxels measure {text}; expected edges of 0.2 to 10 mm.")


@pytest.mark.parametrize(
    ("spacing", "kind"),
    [((0.8, 0.8, 3.7), "few slices"), ((4, 1, 1), "few slices"), ((8, 4, 4), "slice direction")],
)
def test_slices(spacing, kind):
    assert kind in kinds(scan(-1000, 1000, spacing))


@pytest.mark.parametrize(("degrees", "found"), [(19, []), (21, ["oblique"])])
def test_oblique(degrees, found):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[1:3, 1:3] = 5 * np.array([[cos, -sin], [sin, cos]])
    volume = Volume.from_array(scan(-1000, 1000).hu, affine)
    assert inspect_scan(volume).oblique_degrees == pytest.approx(degrees, abs=0.01)
    assert kinds(volume) == found


def test_a_body_is_described():
    found = inspect_scan(body("pelvis", "abdomen"))
    assert found.notices == ()
    assert found.axes == "RAS"
    assert found.extent_mm == (480, 360, 144)
    assert found.body_mm == pytest.approx((340, 240, 144), abs=6)
    assert [part.name for part in found.parts] == ["pelvis", "abdomen"]
    assert found.contrast is not None


def test_no_body_and_a_body_that_is_cut():
    assert kinds(body("air")) == ["no bone", "no body"]
    volume = body("air")
    hu = volume.hu.copy()
    hu[40:44, 30:34] = 700  # 24 x 24 mm
    assert kinds(replace(volume, hu=hu)) == ["no body"]
    whole = body("abdomen")
    inside = whole.hu[20:60, 15:45].copy()
    inside[10:13, 20:23] = -1000  # gas
    assert kinds(Volume.from_array(inside, whole.affine)) == ["body cut"]


def test_nothing_is_said_of_a_body_where_values_are_not_hu():
    volume = body("abdomen")
    found = inspect_scan(replace(volume, hu=volume.hu + 1024))
    assert [notice.kind for notice in found.notices] == ["shifted HU"]
    assert (found.body_mm, found.parts, found.contrast) == (None, (), None)


def test_a_body_is_no_higher_than_its_scan():
    """It is looked at in levels of some 5 mm, the last of which may reach beyond the last slice."""
    whole = body("pelvis")
    slices = 2
    thin = Volume.from_array(whole.hu[:, :, :slices], np.diag([*whole.spacing_mm[:2], 1.5, 1.0]))
    found = inspect_scan(thin)
    assert found.body_mm is not None
    assert found.body_mm[2] == found.extent_mm[2] == 3.0
    assert all(part.to_mm <= 3.0 for part in found.parts)


def test_warnings_as_errors():
    refuse_warnings([Notice("Left out: localizers (1).", "left out")], "a")
    with pytest.raises(
        InputError, match=r"a: expected a scan without warnings, as --strict requires, got: tilt, no air; predict"
    ):
        refuse_warnings([Notice("x", "tilt"), Notice("y", "no air"), Notice("z", "tilt")], "a")


def test_real_scans(test_data):
    assert check_scan(read_ct(test_data / "torso" / "ct.nii.gz")) == ()
    assert kinds(read_ct(test_data / "hostile" / "orientations" / "RAS.nii.gz")) == ["grey values"]
    assert kinds(read_ct(test_data / "torso" / "labels_total_v2.nii.gz")) == ["label map"]
