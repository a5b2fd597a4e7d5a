"""Whether a scan is like those that a model knows, by hand."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from tomoseg.checks.in_distribution import (
    ScanMeasurements,
    ScanRange,
    evenly_spread,
    measurements_of,
    out_of_distribution,
    tissue_hu_of,
)
from tomoseg.notices import gathered
from tomoseg.volume import Volume

KNOWN = ScanRange(
    ((1.0, 2.0), (1.0, 2.0), (3.0, 3.0)),
    ((100.0, 300.0),) * 2 + ((150.0, 240.0),),
    ((-120.0, -80.0), (0.0, 40.0), (200.0, 400.0)),
)


def scan(spacing=(1.5, 1.5, 3.0), shape=(100, 120, 60), shift=0):
    """Half air; of the rest a tenth fat, a tenth bone, and soft tissue between."""
    hu = np.full(shape, -1000, np.int16)
    inside = hu[: shape[0] // 2].reshape(-1)
    line = np.full(inside.size, 20, np.int16)
    line[::10], line[5::10] = -100, 300
    hu[: shape[0] // 2] = (line + shift).reshape(shape[0] // 2, *shape[1:])
    return Volume.from_array(hu, np.diag([*spacing, 1.0]))


def test_facts_by_hand():
    volume = scan()
    found = measurements_of(tissue_hu_of(volume.hu), volume.spacing_mm, volume.shape)
    assert found == ScanMeasurements((1.5, 1.5, 3.0), (150.0, 180.0, 180.0), (-100.0, 20.0, 300.0))
    assert tissue_hu_of(np.full((4, 4, 4), -1000, np.int16)) is None


def test_a_range_goes_from_the_least_to_the_largest():
    one, other = (
        ScanMeasurements((1.0, 1.0, 5.0), (100.0,) * 3, (-90.0, 30.0, 250.0)),
        ScanMeasurements((2.0, 1.0, 3.0), (90.0,) * 3, None),
    )
    assert ScanRange.of([one, other]) == ScanRange(
        ((1.0, 2.0), (1.0, 1.0), (3.0, 5.0)), ((90.0, 100.0),) * 3, ((-90.0, -90.0), (30.0, 30.0), (250.0, 250.0))
    )


def test_a_scan_like_the_others_says_nothing():
    assert out_of_distribution(scan(), KNOWN) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"spacing": (0.5, 1.5, 3.0), "shape": (300, 120, 60)},
            "Voxels measure 0.5 mm from left to right; the model was trained on 1 to 2 mm",
        ),
        (
            {"spacing": (1.5, 1.5, 5.0), "shape": (100, 120, 40)},
            "Voxels measure 5 mm from feet to head; the model was trained on 3 mm",
        ),
        (
            {"shape": (100, 120, 300)},
            "The scan measures 900 mm from feet to head; the model was trained on 150 to 240 mm",
        ),
        (
            {"shift": 150},
            "What is soft (5 % of the tissue lie below) has 50 HU and what is middling has 170 HU; in the",
        ),
    ],
)
def test_what_differs_is_said(change, said):
    assert any(str(text).startswith(said) for text in out_of_distribution(scan(**change), KNOWN))


def test_axes_that_differ_alike_are_told_in_one_sentence():
    (voxels,) = out_of_distribution(scan(spacing=(0.5, 0.5, 3.0), shape=(300, 300, 60)), KNOWN)
    assert voxels.message == (
        "Voxels measure 0.5 mm from left to right, 0.5 mm from back to front; the model was trained on 1 to 2 mm. "
        "Expect worse masks, and look at them."
    )
    assert (
        out_of_distribution(scan(spacing=(0.5, 0.5, 3.0), shape=(300, 300, 60)), KNOWN, averaged=(True, True, False))
        == ()
    )
    (extent,) = out_of_distribution(scan(shape=(20, 120, 10)), KNOWN)
    assert extent.message.startswith(
        "The scan measures 30 mm from left to right, 30 mm from feet to head; the model was trained on "
        "100 to 300 and 150 to 240 mm."
    )
    (tissue,) = out_of_distribution(scan(shift=-150), KNOWN)
    assert tissue.message.startswith(
        "What is soft (5 % of the tissue lie below) has -250 HU and what is middling has -130 HU; in the model's "
        "training scans it has -120 to -80 and 0 to 40 HU. Check"
    )


def test_the_part_of_the_body_is_told_first():
    known = replace(KNOWN, parts=("neck",))
    told = out_of_distribution(scan(spacing=(0.5, 1.5, 3.0), shape=(300, 120, 300), shift=150), known, ["pelvis"])
    assert [notice.message.split(" ")[1] for notice in told] == ["scan", "is", "measure", "scan"]
    assert told[0].message.startswith("The scan seems to show pelvis")
    assert [notice.kind for notice in told] == ["other body part", *["unlike training"] * 3]
    short = out_of_distribution(
        scan(shape=(20, 120, 10)), known
    )  # of many scans the wrong part comes before any length
    of_two = gathered([*(("a", notice) for notice in short), ("b", told[0])])
    assert [notice.kind for notice in of_two] == ["other body part", "unlike training"]


def test_parts_are_those_of_nearly_all_scans():
    one = ScanMeasurements((1.0, 1.0, 5.0), (100.0,) * 3, (-90.0, 30.0, 250.0))
    seen = [("neck", "chest")] * 8 + [("neck",), ("chest",)]
    assert ScanRange.of([one], seen).parts == ("chest", "neck")
    assert ScanRange.of([one], [*seen, ("abdomen",)]).parts == ()  # 9 of 11 each
    assert ScanRange.of([one], []).parts == ()


def test_another_part_of_the_body_is_said():
    known = replace(KNOWN, parts=("neck",))
    assert out_of_distribution(scan(), known, ["head", "neck"]) == ()
    assert out_of_distribution(scan(), known) == ()
    assert out_of_distribution(scan(), KNOWN, ["pelvis"]) == ()
    (said,) = out_of_distribution(scan(), known, ["chest", "abdomen"])
    assert said.message.startswith(
        "The scan seems to show chest, abdomen; nearly all the scans that the model was trained on show neck."
    )


def test_ranges_from_before_there_were_parts_are_read():
    data = asdict(replace(KNOWN, parts=("neck",)))
    assert ScanRange.from_dict(data) == replace(KNOWN, parts=("neck",))
    del data["parts"]
    assert ScanRange.from_dict(data) == KNOWN


def test_the_margins_are_still_like_the_others():
    assert out_of_distribution(scan(spacing=(3.0, 0.67, 2.0), shape=(60, 200, 100), shift=59), KNOWN) == ()


def test_slices_are_spread():
    assert evenly_spread(100, 4) == [12, 37, 62, 87]
    assert evenly_spread(3, 16) == [0, 1, 2]


def test_ranges_join_to_those_of_both():
    one = ScanRange(((1.0, 2.0),) * 3, ((100.0, 200.0),) * 3, ((-100.0, -50.0),), ("neck", "head"))
    other = ScanRange(((1.5, 3.0),) * 3, ((50.0, 150.0),) * 3, ((-80.0, 0.0),), ("neck",))
    expected = ScanRange(((1.0, 3.0),) * 3, ((50.0, 200.0),) * 3, ((-100.0, 0.0),), ("neck",))
    assert one.joined(other) == other.joined(one) == expected
    without = ScanRange(one.spacing_mm, one.extent_mm, ())  # scans of air alone have no tissue
    assert one.joined(without).tissue_hu == without.joined(one).tissue_hu == one.tissue_hu
