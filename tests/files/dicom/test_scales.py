"""Values that differ within a scan: scales that some slices lack, and padding that tissue has too."""

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
    assert "2 of 5 slices (2, 4 in the order of position) give no usable rescale slope or intercept" in warning.message


def test_refused_where_the_others_differ(tmp_path):
    made = slices()
    made[0].RescaleSlope = 2
    del made[2].RescaleSlope
    with pytest.raises(InputError, match=r"got 1 of 5 slices \(3 in the order of position\) without usable ones"):
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
