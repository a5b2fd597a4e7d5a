"""The dataset doctor on bodies made by hand, into which one mistake at a time is put."""

from dataclasses import replace

import numpy as np
import pytest

from tomoseg.checks.dataset import check_cases
from tomoseg.checks.facts import case_facts, unreadable_case
from tomoseg.checks.findings import RobustStats
from tomoseg.masks import BoxedMask
from tomoseg.notices import Notice
from tomoseg.volume import Volume

SHAPE = (24, 20, 30)


def block(*sides):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def body(seed):
    """A body with a skull above a lung, and two kidneys; every patient a little different."""
    rng = np.random.default_rng(seed)
    dx, dy, dz = rng.integers(-1, 2, 3)
    hu = np.full(SHAPE, -1000, np.int16)
    hu[3 + dx : 21 + dx, 3 + dy : 16 + dy, :] = 30
    masks = {
        "skull": block((8 + dx, 16 + dx), (8 + dy, 14 + dy), (22 + dz, 27 + dz)),
        "lung": block((7 + dx, 17 + dx), (9 + dy, 14 + dy), (12 + dz, 18 + dz)),
        "kidney_left": block((5 + dx, 8 + dx), (5 + dy, 8 + dy), (4 + dz, 9 + dz)),
        "kidney_right": block((16 + dx, 19 + dx), (5 + dy, 8 + dy), (4 + dz, 9 + dz)),
    }
    for name, value in (("skull", 900), ("lung", -800), ("kidney_left", 150), ("kidney_right", 150)):
        hu[masks[name]] = value
    masks = {name: mask & (rng.random(SHAPE) > 0.01) for name, mask in masks.items()}  # no two alike
    hu += rng.integers(-9, 10, SHAPE).astype(np.int16)
    return Volume.from_array(hu, np.diag([10.0, 10.0, 10.0, 1.0])), masks


def facts(volume, masks, name="case", split=None, patient=None):
    return case_facts(name, patient or name, split, volume, [(k, BoxedMask.of(m)) for k, m in masks.items()])


OTHERS = [facts(*body(seed), name=f"other{seed}") for seed in range(12)]


def said(volume, masks):
    return [f for f in check_cases([*OTHERS, facts(volume, masks)]) if f.case == "case"]


def errors(volume, masks):
    return [(f.kind, f.structure) for f in said(volume, masks) if f.level == "error"]


def test_nothing_is_said_of_cases_like_the_others():
    assert check_cases(OTHERS) == []
    assert said(*body(50)) == []


def test_swapped_sides():
    volume, masks = body(50)
    masks["kidney_left"], masks["kidney_right"] = masks["kidney_right"], masks["kidney_left"]
    assert errors(volume, masks) == [("left and right swapped", "kidney_left")]
    (alone,) = check_cases([facts(volume, masks)])  # which needs no other case
    assert alone.text.startswith("kidney_left lies 110 mm to the right of kidney_right; expected on the patient's left")


def test_two_swapped_pairs_are_a_mirrored_scan():
    volume, masks = body(50)
    wrong = {"lung_left": masks["kidney_right"], "lung_right": masks["kidney_left"]}
    wrong |= {"kidney_left": masks["kidney_right"], "kidney_right": masks["kidney_left"]}
    (found,) = [f for f in check_cases([facts(volume, wrong)]) if f.kind == "mirrored"]
    assert found.text.startswith("All 2 left structures lie to the right of their right counterparts.")


@pytest.mark.parametrize("axis", [1, 2])
def test_scan_and_masks_mirrored(axis):
    volume, masks = body(50)
    turned = replace(volume, hu=np.flip(volume.hu, axis))
    assert ("mirrored", None) in errors(turned, {name: np.flip(mask, axis) for name, mask in masks.items()})


@pytest.mark.parametrize("axis", [1, 2])
def test_one_of_scan_and_masks_mirrored(axis):
    volume, masks = body(50)
    assert ("scan mirrored under its masks", None) in errors(replace(volume, hu=np.flip(volume.hu, axis)), masks)


@pytest.mark.parametrize("shift", [-1000, -60, 60, 1024])
def test_values_that_are_shifted(shift):
    volume, masks = body(50)
    found = [f for f in said(replace(volume, hu=volume.hu + np.int16(shift)), masks) if f.kind == "not HU"]
    assert len(found) == 1
    assert (
        f"about {shift // 10 * 10:+d} HU off" in found[0].text or f"{-(-shift // 10) * 10:+d} HU off" in found[0].text
    )


def test_a_picture_is_no_ct():
    volume, masks = body(50)
    grey = np.clip((volume.hu + 1000) // 8, 0, 255).astype(np.int16)
    assert ("not HU", None) in errors(replace(volume, hu=grey), masks)


def test_volume_position_and_tissue_are_compared():
    volume, masks = body(50)
    large = {**masks, "lung": block((2, 22), (2, 17), (2, 28))}
    assert {(f.kind, f.structure) for f in said(volume, large)} >= {("volume", "lung"), ("HU", "lung")}
    (found,) = [f for f in said(volume, large) if f.kind == "volume"]
    assert found.text.startswith("It has 7800 ml, 26.3 times more than the median of 297 ml (2")
    assert "7800" not in found.text.split("(")[1]  # what is odd is not in the range of what is usual
    away = {**masks, "skull": block((8, 16), (8, 14), (0, 5))}
    assert ("position", "skull") in {(f.kind, f.structure) for f in said(volume, away)}


def test_what_one_case_says_alone():
    volume, masks = body(50)
    masks["lung"][:, :, 14] = False
    masks["none"] = np.zeros(SHAPE, bool)
    masks["twin"] = masks["skull"].copy()
    found = {(f.level, f.kind, f.structure) for f in check_cases([facts(volume, masks)])}
    assert found == {
        ("warning", "gap", "lung"),
        ("warning", "empty", None),
        ("warning", "overlap", "skull"),
        ("error", "duplicate", "twin"),
    }


def test_empty_masks_are_told_one_by_one_where_they_are_rare():
    cases = [replace(case, name=f"c{number}") for number, case in enumerate(OTHERS[:10])]
    nothing = replace(cases[0].structures["lung"], voxels=0)
    with_empties = [
        replace(
            case,
            structures=case.structures
            | ({"lung": nothing} if number == 3 else {})
            | ({"prostate": nothing} if number % 2 else {"prostate": case.structures["lung"]}),
        )
        for number, case in enumerate(cases)
    ]
    found = [f for f in check_cases(with_empties) if f.kind == "empty"]
    assert [(f.case, f.structure) for f in found] == [("", None), ("c3", "lung")]
    assert "Empty masks: 5, of 1 structure (prostate in 5 of 10 cases)" in found[0].text
    assert "is present in 9 of 10 cases" in found[1].text


def test_a_scan_of_one_value():
    volume, masks = body(50)
    volume.hu[...] = -1000
    found = [(f.level, f.kind, f.structure) for f in check_cases([facts(volume, masks)])]
    assert ("error", "constant", None) in found
    assert "outside of the scan" not in {kind for _, kind, _ in found}


def test_slices_of_one_value():
    volume, masks = body(50)
    volume.hu[:, :, 25:] = -1000
    volume.hu[:, :, 10] = 0
    found = {(f.level, f.kind, f.structure) for f in check_cases([facts(volume, masks)])}
    assert found == {("error", "outside of the scan", "skull"), ("warning", "blank slices", None)}


def test_copies_and_leaks():
    one = facts(*body(1), name="a", split="train", patient="p")
    same_patient = facts(*body(2), name="b", split="test", patient="p")
    copy = facts(*body(1), name="c", split="validation")
    found = {(f.kind, f.case, f.structure) for f in check_cases([one, same_patient, copy])}
    assert found == {("in two splits", "b", None), ("in two splits", "c", None), ("duplicate", "c", None)}


def test_what_cannot_be_read_is_an_error_and_the_rest_goes_on():
    volume, masks = body(50)
    broken = case_facts("x", "x", None, volume, [("lung", BoxedMask.of(masks["lung"])), ("skull", "no such file")])
    found = check_cases(
        [*OTHERS, broken, unreadable_case("y", "y", None, "cut short"), unreadable_case("z", "z", None, "a")]
    )
    assert [(f.kind, f.case, f.structure, f.text) for f in found] == [
        ("unreadable", "x", "skull", "no such file."),
        ("unreadable", "y", None, "cut short."),
        ("unreadable", "z", None, "a."),
    ]


def test_notices_of_scans_have_their_kinds_and_the_decisive_come_before_other_warnings():
    volume, masks = body(50)
    volume = replace(volume, warnings=(Notice("Tilted.", "tilt"), Notice("It is upside down.", "upside down")))
    volume.hu[:, :, 10] = 0
    found = [(f.level, f.kind, f.structure) for f in check_cases([facts(volume, masks)])]
    assert found == [
        ("warning", "scan: upside down", None),
        ("warning", "blank slices", None),
        ("warning", "scan: tilt", None),
    ]


def test_a_few_wrong_values_do_not_move_what_is_typical():
    found = RobustStats.of(np.array([1.0] * 5 + [2.0] * 5 + [3.0] * 5 + [900.0]))
    assert (found.middle, found.spread) == (2, pytest.approx(1.4826))
    assert found.is_far(9.0, 4.0, 0.5)
    assert not found.is_far(9.0, 4.0, 8.0)
    assert found.usual(np.array([1.0, 2.0, 3.0, 900.0]), 4.0, 0.5) == (1.0, 3.0)
