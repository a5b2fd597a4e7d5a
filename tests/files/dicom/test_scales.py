"""Values that differ within a scan: scales that some slices lack, and padding that tissue has too."""

import re

import numpy as np
import pytest

from tests.files.dicom.series import image, save
from tomoseg.errors import InputError
from tomoseg.files.scan import read_scan
from tomoseg.files.stack import AIR_HU


def slices(count=5, **tags):
    return [
        image(np.full((3, 4), 1000 + k, np.uint16), (0, 0, k), k + 1, RescaleIntercept=-1024, **tags)
        for k in range(count)
    ]


def unreadable(folder, number, old=b"-1024.0 ", new=b"-1024,0 "):
    path = folder / f"{number:03}.dcm"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("what", ["missing", "empty", "a comma", "doubled"])
def test_slices_without_a_scale_take_that_of_the_others(tmp_path, what):
    made = slices()
    if what == "missing":
        del made[1].RescaleIntercept, made[3].RescaleIntercept
    elif what == "empty":
        made[1].RescaleIntercept = made[3].RescaleIntercept = None
    elif what == "doubled":
        made[1].RescaleIntercept = made[3].RescaleIntercept = [-1024, 0]
    save(made, tmp_path)
    if what == "a comma":
        unreadable(tmp_path, 1)
        unreadable(tmp_path, 3)
    volume = read_scan(tmp_path)
    assert volume.hu[0, 0].tolist() == [-24, -23, -22, -21, -20]
    (warning,) = volume.warnings
    assert warning.kind == "no rescale"
    assert "No usable rescale slope or intercept in 2 of 5 slices (2, 4 in order of position)" in warning.message


def test_refused_where_the_others_differ(tmp_path):
    made = slices()
    made[0].RescaleSlope = 2
    del made[2].RescaleSlope
    with pytest.raises(InputError, match=r"got 1 of 5 slices \(3 in order of position\) without usable ones"):
        read_scan(save(made, tmp_path))


@pytest.mark.parametrize(("value", "kinds"), [(1024, ["padding"]), (4095, ["padding"]), (10, [])])
def test_padding_that_tissue_has(tmp_path, value, kinds):
    """0 HU or the highest value: taken for air at the border, not in the body; -1014 HU is air in any case."""
    stored = np.full((5, 5), 1100, np.uint16)
    stored[0], stored[2, 2] = value, value
    made = [image(stored, (0, 0, k), k, RescaleIntercept=-1024, PixelPaddingValue=value) for k in (1, 2)]
    volume = read_scan(save(made, tmp_path))
    assert [word.kind for word in volume.warnings] == kinds
    assert (volume.hu[:, 4] == AIR_HU).all()  # row 0 is the patient's front
    assert volume.hu[2, 2].tolist() == ([value - 1024] * 2 if kinds else [AIR_HU] * 2)


def anatomy(count, rng):
    """HU of a body in air, other noise in each slice."""
    planes = np.full((count, 24, 24), -990)
    planes[:, 4:20, 4:20] = 40
    return planes + rng.integers(-15, 16, planes.shape)


def stored_with(hu, scales, **tags):
    """Slices whose stored values come to these HU with a scale each."""
    made = []
    for k, (plane, (slope, intercept)) in enumerate(zip(hu, scales, strict=True)):
        stored = np.rint((plane - intercept) / slope).astype(np.int16)
        made.append(image(stored, (0, 0, k), k + 1, RescaleSlope=slope, RescaleIntercept=intercept, **tags))
    return made


def test_a_scale_for_each_slice_is_no_fault(rng, tmp_path):
    scales = [(0.5 + 0.125 * (k % 3), -1024 + 8 * k) for k in range(9)]
    volume = read_scan(save(stored_with(anatomy(9, rng), scales), tmp_path))
    assert volume.warnings == ()


@pytest.mark.parametrize(
    ("wrong", "tags", "jump"),
    [
        ([3, 4], {"RescaleIntercept": 0}, 1024),
        ([0], {"RescaleIntercept": -1000}, 24),
        ([7, 8], {"RescaleSlope": 2}, 1064),
    ],
)
def test_slices_whose_scale_makes_hu_jump_are_told(rng, tmp_path, wrong, tags, jump):
    made = stored_with(anatomy(9, rng), [(1, -1024)] * 9)
    for number in wrong:
        for keyword, value in tags.items():
            setattr(made[number], keyword, value)
    (warning,) = read_scan(save(made, tmp_path)).warnings
    listed = ", ".join(str(number + 1) for number in wrong)
    assert warning.kind == "uneven HU"
    assert f"differs in {len(wrong)} of 9 slices ({listed} in order of position)" in warning.message
    assert "from the others (1 and -1024), and HU jump by up to" in warning.message
    assert int(warning.message.split("by up to ")[1].split()[0]) == pytest.approx(jump, abs=10)


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ({}, None),
        ({k: "US" for k in range(5)}, None),
        ({1: "US"}, r"type of 1 of 5 slices \(2 in order of position\) is not HU"),
        ({k: "OD" for k in range(5)}, "The rescale type is not HU"),
        ({4: "OD"}, r"type of 1 of 5 slices \(5 in"),
    ],
)
def test_other_rescale_types_among_hu(tmp_path, units, told):
    made = slices()
    for number, unit in units.items():
        made[number].RescaleType = unit
    found = read_scan(save(made, tmp_path)).warnings
    assert [word.kind for word in found] == (["not HU"] if told else [])
    assert told is None or re.search(told, found[0].message)


def test_a_range_of_padding_that_holds_all(tmp_path):
    """Limits the wrong way: nothing would be left of the scan."""
    stored = np.arange(900, 1125, 25, dtype=np.uint16).reshape(3, 3)
    tags = {"RescaleIntercept": -1024, "PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095}
    volume = read_scan(save([image(stored, (0, 0, k), k, **tags) for k in (1, 2)], tmp_path))
    assert (volume.hu[..., 0].T[::-1, ::-1] == stored.astype(int) - 1024).all()
    assert [word.kind for word in volume.warnings] == ["padding"]
    assert "covers every pixel of a slice" in volume.warnings[0].message
