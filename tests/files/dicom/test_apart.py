"""Two scans in one series are told apart by whatever their headers say; one scan never is."""

import numpy as np
import pytest

from tests.files.dicom.series import image, save
from tomoseg.errors import InputError
from tomoseg.files.scan import read_scan

SLICES, GAP = 8, 5.0


def scan(rng, first_mm=0.0, gap=GAP, count=SLICES, number=1, **tags):
    """Slices of noise from `first_mm` up; a tag may be a function of the slice."""
    return [
        image(
            rng.integers(-1000, 1000, (5, 6), np.int16),
            (0, 0, first_mm + gap * k),
            number + k,
            **{keyword: value(k) if callable(value) else value for keyword, value in tags.items()},
        )
        for k in range(count)
    ]


def clock(start):
    """A time of each slice, half a second apart."""
    return lambda k: f"{start + k // 2:06}.{k % 2 * 5}"


TOLD = {
    "acquisition": ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
    "blocks": ({"AcquisitionNumber": lambda k: 1 + k // 2}, {"AcquisitionNumber": lambda k: 9 + k // 2}),
    "an acquisition a slice": ({"AcquisitionNumber": lambda k: 1 + k}, {"AcquisitionNumber": lambda k: 9 + k}),
    "time position": ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
    "kernel": ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}),
    "image type": ({"ImageType": ["ORIGINAL", "PRIMARY", "A"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "B"]}),
    "kV": ({"KVP": 80}, {"KVP": 140}),
    "field": ({"ReconstructionDiameter": 350}, {"ReconstructionDiameter": 500}),
    "heart": ({"NominalPercentageOfCardiacPhase": 40}, {"NominalPercentageOfCardiacPhase": 75}),
    "agent": ({"ContrastBolusAgent": ""}, {"ContrastBolusAgent": "given"}),
    "description": ({"SeriesDescription": "arterial"}, {"SeriesDescription": "venous"}),
    "exposure": ({"XRayTubeCurrent": 100}, {"XRayTubeCurrent": 250}),
    "acquisition time": ({"AcquisitionTime": clock(101500)}, {"AcquisitionTime": clock(101545)}),
    "content time": ({"ContentTime": clock(101500)}, {"ContentTime": clock(101545)}),
    "time, the other way": ({"AcquisitionTime": clock(101500)}, {"AcquisitionTime": lambda k: clock(101545)(8 - k)}),
    "centre": ({}, {"ImagePositionPatient": lambda k: [12, 0, 2.5 + GAP * k]}),
}  # fmt: skip


@pytest.mark.parametrize("offset", [GAP / 2, 1.0, 0.0], ids=["half a gap", "1 mm", "the same places"])
@pytest.mark.parametrize("what", TOLD)
def test_two_scans(rng, tmp_path, what, offset):
    """Their numbers run on through both, by place, so that these tell nothing."""
    one, other = (dict(tags) for tags in TOLD[what])
    if "ImagePositionPatient" in other:
        other["ImagePositionPatient"] = lambda k: [12, 0, offset + GAP * k]
    slices = [one_of for pair in zip(scan(rng, **one), scan(rng, offset, **other), strict=True) for one_of in pair]
    if what == "centre" and offset == 0:
        pytest.skip("slices beside one another in a plane")
    stored = [one_of.pixel_array for one_of in slices]
    for number, one_of in enumerate(slices):
        one_of.InstanceNumber = number + 1
    folder = save(slices, tmp_path)
    with pytest.raises(
        InputError, match=r"got 2 of the same part of the body, and nothing says which is meant; choose"
    ):
        read_scan(folder)
    first, second = read_scan(folder, series=1), read_scan(folder, series=2)
    assert len(first.source.slices.series) == 2
    np.testing.assert_array_equal(first.hu, np.stack(stored[::2]).transpose(2, 1, 0)[::-1, ::-1])
    np.testing.assert_array_equal(second.hu, np.stack(stored[1::2]).transpose(2, 1, 0)[::-1, ::-1])
    assert first.warnings == ()


@pytest.mark.parametrize("numbers", [(1, 1), (1, SLICES + 1), (1, 100)])
@pytest.mark.parametrize("offset", [GAP / 2, 1.0, -1.0])
def test_nothing_but_numbers(rng, tmp_path, numbers, offset):
    """As of two series whose identifiers were emptied."""
    tags = {"SeriesInstanceUID": "", "SOPInstanceUID": ""}
    one, other = scan(rng, number=numbers[0], **tags), scan(rng, offset, number=numbers[1], **tags)
    slices = [one_of for pair in zip(one, other, strict=True) for one_of in pair]
    volume = read_scan(save(slices, tmp_path), series=2)
    assert len(volume.source.slices.series) == 2
    assert volume.warnings == ()
    assert volume.spacing_mm == (1, 1, GAP)


def test_nothing_but_names_of_files(rng, tmp_path):
    slices = [*scan(rng, InstanceNumber=None), *scan(rng, 2.5, InstanceNumber=None)]
    with pytest.raises(InputError, match=r"\(series number 2, the first by file name\); 2:"):
        read_scan(save(slices, tmp_path))
    volume = read_scan(tmp_path, series=1)
    np.testing.assert_array_equal(volume.hu[..., 0], slices[0].pixel_array.T[::-1, ::-1])
    assert volume.shape[2] == SLICES


def test_nothing_but_folders(rng, tmp_path):
    slices = scan(rng, count=2 * SLICES, gap=GAP / 2)
    save(slices[::2], tmp_path / "a")
    save(slices[1::2], tmp_path / "b")
    assert read_scan(tmp_path, series=2).shape[2] == SLICES


def test_three_phases_of_other_gaps(rng, tmp_path):
    slices = [
        *scan(rng, AcquisitionNumber=1),
        *scan(rng, 1.0, 3.0, 14, AcquisitionNumber=2),
        *scan(rng, 0.5, AcquisitionNumber=3),
    ]
    series = read_scan(save(slices, tmp_path), series=3).source.slices.series
    assert [words.split(" images")[0] for words in series] == ["axial, 8", "axial, 14", "axial, 8"]


def test_a_part_that_was_scanned_again(rng, tmp_path):
    again = scan(rng, 11.0, count=4, AcquisitionNumber=2, number=50)
    volume = read_scan(save([*scan(rng, count=12, AcquisitionNumber=1), *again], tmp_path))
    assert volume.shape[2] == 12
    assert "1: axial, 12 images" in volume.warnings[0].message


def currents(k):
    """As angular modulation of the current makes them: up and down, and the same again."""
    return int(200 + 40 * np.sin(2.4 * k) + 8 * k)


ONE_SCAN = {
    "plain": {},
    "a current and a time for each slice": {
        "XRayTubeCurrent": currents,
        "Exposure": lambda k: currents(k) // 2,
        "AcquisitionTime": clock(101500),
        "ContentTime": clock(101600),
    },
    "currents that hardly differ": {"XRayTubeCurrent": lambda k: 614 + k % 3, "Exposure": lambda k: 253 + k % 2},
    "head and chest": {
        "AcquisitionNumber": lambda k: 1 + k // 12,
        "ConvolutionKernel": lambda k: ("H30s", "B30f")[k // 12],
        "KVP": lambda k: (120, 100)[k // 12],
        "AcquisitionTime": lambda k: ("101500", "101520")[k // 12],
    },
    "chest, then head": {"AcquisitionNumber": lambda k: 2 - k // 12, "ContentTime": lambda k: clock(101500)(23 - k)},
    "an acquisition a slice": {"AcquisitionNumber": lambda k: k + 1},
    "four slices a turn": {"AcquisitionNumber": lambda k: k // 4 + 1, "AcquisitionTime": lambda k: f"1015{k // 4:02}"},
    "reconstructed by two machines": {"ContentTime": lambda k: f"1015{(k ^ 1):02}"},
    "reconstructed from four places at once": {"ContentTime": lambda k: f"1015{k % 6 * 4 + k // 6:02}"},
    "odd slices": {"ImageType": lambda k: ["ORIGINAL", "PRIMARY", "AXIAL", *(["MAR"] if k in {4, 7, 15} else [])]},
    "numbers at random": {"InstanceNumber": lambda k: (7 * k + 5) % 24 + 1},
    "the same number": {"InstanceNumber": 1},
    "numbers anew in each half": {"InstanceNumber": lambda k: k % 12 + 1, "AcquisitionNumber": lambda k: k // 12},
    "a table that moves": {"ImagePositionPatient": lambda k: [0.6 * (k % 2), 0.01 * k, GAP * k]},
}


@pytest.mark.parametrize("what", ONE_SCAN)
def test_one_scan(rng, tmp_path, what):
    volume = read_scan(save(scan(rng, count=24, **ONE_SCAN[what]), tmp_path))
    assert volume.source.slices.series == ("axial, 24 images of 6 x 5 at 1 mm (series number 2)",)
    assert volume.shape[2] == 24
    assert {word.kind for word in volume.warnings} <= {"tilt", "joined parts"}
    assert ("joined parts" in {word.kind for word in volume.warnings}) == (what == "head and chest")


@pytest.mark.parametrize("shared", [0.0, 2.5])
def test_acquisitions_that_overlap_where_they_meet(rng, tmp_path, shared):
    """The last two slices of one and the first two of the other, at the same places or between them."""
    other = scan(rng, 10 * GAP + shared, count=12, number=50, AcquisitionNumber=2)
    volume = read_scan(save([*scan(rng, count=12, AcquisitionNumber=1), *other], tmp_path))
    assert len(volume.source.slices.series) == 1
    assert {word.kind for word in volume.warnings} <= {"uneven gaps", "repeated slices"}


def test_files_in_folders_of_ten(rng, tmp_path):
    slices = scan(rng, count=24)
    for start in range(0, 24, 10):
        save(slices[start : start + 10], tmp_path / f"{start}")
    assert read_scan(tmp_path).shape[2] == 24


def test_an_odd_attribute_loses_no_slice(rng, tmp_path):
    """A value that is no number of its kind is as good as none."""
    slices = scan(rng)
    path = save(slices, tmp_path) / "003.dcm"
    slices[3].KVP, slices[3].XRayTubeCurrent = "120", "100"
    slices[3].save_as(path)
    data = path.read_bytes().replace(b"\x60\x00DS\x04\x00120 ", b"\x60\x00DS\x04\x00a,b ")
    assert b"a,b " in data
    path.write_bytes(data)
    volume = read_scan(tmp_path)
    assert (volume.shape[2], volume.warnings) == (SLICES, ())


def test_what_may_name_a_patient_is_not_told(rng, tmp_path):
    slices = [*scan(rng, SeriesDescription="Miller"), *scan(rng, 2.5, SeriesDescription="Smith")]
    with pytest.raises(InputError, match="the first by description") as caught:
        read_scan(save(slices, tmp_path))
    assert "Miller" not in str(caught.value)
