from dataclasses import replace

import numpy as np

from tests.checks.bodies import body
from tomoseg.checks.planes import plane_facts
from tomoseg.checks.values import thin_slices

ABDOMEN = body("abdomen", levels=10)


def looked_at(hu):
    volume = replace(ABDOMEN, hu=hu)
    return plane_facts(volume, thin_slices(volume))


def test_an_ordinary_scan():
    facts, notices = looked_at(ABDOMEN.hu)
    assert (facts.blank_ends, facts.blank, facts.repeated, notices) == (0, (), (), ())


def test_blank_slices_at_the_ends_are_ordinary():
    hu = ABDOMEN.hu.copy()
    hu[..., :3] = hu[..., -1] = -1024
    facts, notices = looked_at(hu)
    assert (facts.blank_ends, facts.blank, notices) == (4, (), ())


def test_blank_and_repeated_slices_are_counted_from_the_feet():
    hu = ABDOMEN.hu.copy()
    hu[..., 3:5] = -1024
    hu[..., 7] = hu[..., 6]
    facts, (blank, repeated) = looked_at(hu)
    assert (facts.blank, facts.repeated) == ((4, 5), (8,))
    assert blank.kind == "blank slices"
    assert blank.message.startswith("2 slices between others have a single value (number 4, 5 from the feet)")
    assert repeated.kind == "repeated slices"
    assert repeated.message.startswith("1 slice is identical to the slice below (number 8 from the feet)")


def test_one_voxel_makes_another_slice():
    hu = ABDOMEN.hu.copy()
    hu[..., 7] = hu[..., 6]
    hu[1, 1, 7] += 1
    assert looked_at(hu)[0].repeated == ()


def test_a_piece_of_table_beyond_the_patient_does_not_put_blanks_between():
    hu = ABDOMEN.hu.copy()
    hu[..., 6:] = -1000
    hu[40:44, 5:7, 8] = 100
    facts, notices = looked_at(hu)
    assert (facts.blank, notices) == ((), ())
    assert facts.blank_ends == 3


def test_a_scan_of_one_value_has_no_slices_between():
    assert looked_at(np.zeros_like(ABDOMEN.hu))[0].blank_ends == 10


def test_slices_that_are_brighter_as_a_whole():
    hu = ABDOMEN.hu.copy()
    hu[..., 4:6] += 1024
    _, (step,) = looked_at(hu)
    assert step.kind == "uneven HU"
    assert "(number 5 by about +1020, 7 by about -1020 HU, counted from the feet)" in step.message


def test_tissue_that_begins_or_ends_is_no_step():
    """Half of the slices hold air alone; or are cut to it."""
    hu = ABDOMEN.hu.copy()
    hu[..., 5:] = -1000 + hu[..., 5:] % 7
    assert looked_at(hu)[1] == ()
    hu[..., 5:] = -1024
    assert looked_at(hu)[1] == ()
