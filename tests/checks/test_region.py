from dataclasses import replace

import pytest

from tests.checks.bodies import EDGE_MM, body
from tomoseg.checks.body import body_profile
from tomoseg.checks.region import PARTS, find_parts


def parts_of(volume):
    return find_parts(body_profile(volume))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_alone(part):
    (found,), notices = parts_of(body(part))
    assert (found.name, found.from_mm, found.to_mm, found.certainty) == (part, 0, 12 * EDGE_MM, "likely")
    assert notices == ()


def test_a_whole_body_in_its_order():
    found, notices = parts_of(body(*PARTS))
    assert tuple(part.name for part in found) == PARTS
    assert [part.from_mm for part in found] == pytest.approx([12 * EDGE_MM * k for k in range(6)], abs=EDGE_MM)
    assert notices == ()


def test_upside_down():
    volume = body("thorax", "neck", "head")
    (notice,) = parts_of(replace(volume, hu=volume.hu[:, :, ::-1]))[1]
    assert notice.kind == "upside down"
    assert notice.message.startswith(
        "From its lowest slice up, the body looks like head, neck, thorax; expected feet to head."
    )


def test_back_to_front():
    volume = body("abdomen")
    (notice,) = parts_of(replace(volume, hu=volume.hu[:, ::-1]))[1]
    assert notice.kind == "back to front"


def test_short_scans_are_not_judged():
    volume = body("thorax", "neck", levels=6)  # 72 mm
    assert parts_of(replace(volume, hu=volume.hu[:, :, ::-1]))[1] == ()


def test_nothing_is_told_of_air_or_of_a_body_without_an_outline():
    assert parts_of(body("air")) == ((), ())
    volume = body("abdomen")
    cut = type(volume).from_array(volume.hu[25:55, 20:40].copy(), volume.affine)
    assert parts_of(cut) == ((), ())


def test_real_patients(test_data):
    from tomoseg.files.scan import read_scan

    names = {
        "torso/ct.nii.gz": ["pelvis", "abdomen"],
        "abdomen_dicom": ["abdomen"],
        "hostile/head_tilted_uneven_gaps": ["head"],
        "hostile/lumbar_crop/sub-ct_label-22_ct.nii.gz": [],
        "openkbp/validation/pt_201/ct.nii.gz": ["thorax", "neck", "head"],
    }
    for name, expected in names.items():
        found, notices = parts_of(read_scan(test_data / name))
        assert [part.name for part in found] == expected, name
        assert notices == ()
