from dataclasses import replace

from tomoseg.planning.little import RunFound, StructureFound, why_little

JAW = StructureFound("jaw", 0.0, 10, 0.95)
CORD = StructureFound("cord", 0.0, 10, 0.9)
"""Nothing was found of either."""

RUN = RunFound(0.0, 10_000, 2500, 30.0, (JAW, CORD), 4.0, 4.0, 3.0, 1.0)
"""Long enough, on a grid as fine as the scans."""


def told(**changes):
    return "\n".join(why_little(replace(RUN, **changes)))


def test_nothing_is_said_of_a_run_that_found_something():
    both = (replace(JAW, dice=0.8), replace(CORD, dice=0.06))
    assert why_little(replace(RUN, dice=0.43, structures=both)) == []


def test_the_bad_first_experience():
    """Scans of 4 mm on 1.5 mm, 17 steps of 8 in 3 minutes."""
    lines = why_little(replace(RUN, slices=136, steps=17, minutes=3.0, grid_mm=1.5, scan_mm=4.0, last_loss=2.0))
    assert lines[0] == "this run found next to nothing: best validation Dice 0.000"
    assert lines[1] == (
        "the grid has pixels of 1.5 mm where the scans have 4 mm: each step takes about 7 times as long and shows "
        "no more detail; preprocess again with --grid.spacing-mm 4, or let it be planned"
    )
    assert lines[2].startswith(
        "17 steps saw 136 slices, and some 6300 are wanted for 2 structures: go on to about 139 min"
    )
    assert len(lines) == 3


def test_a_run_of_steps_is_told_steps():
    assert "6300 are wanted for 2 structures: go on to about 788 steps" in told(slices=136, steps=17, minutes=None)


def test_a_structure_that_no_training_case_holds():
    found = told(dice=0.4, structures=(replace(JAW, dice=0.8), replace(CORD, cases=0, ceiling=None)))
    assert found == (
        "this run found nothing of cord\n"
        "no training case holds cord: annotate some, or leave them out with preprocess --structures"
    )


def test_one_that_a_single_case_holds():
    assert "only one training case holds cord: annotate more" in told(structures=(JAW, replace(CORD, cases=1)))


def test_one_that_the_grid_loses():
    found = told(dice=0.4, structures=(replace(JAW, dice=0.8), replace(CORD, ceiling=0.3)), grid_mm=9.0, scan_mm=1.0)
    assert "on pixels of 9 mm next to nothing is left of cord, which are about as small" in found
    assert "--grid.spacing-mm 3" in found


def test_a_loss_that_did_not_fall():
    assert "the training loss did not fall (3 to 2.95)" in told(last_loss=2.95)


def test_no_emphasis():
    found = told(dice=0.4, structures=(replace(JAW, dice=0.8), CORD), emphasis_power=0)
    assert "loss.emphasis_power is 0" in found


def test_without_a_usual_cause():
    assert "no usual cause was found: check with `tomoseg preview`" in told()


def test_many_names_are_counted():
    some = tuple(replace(JAW, name=f"s{n}", cases=0, ceiling=None) for n in range(7))
    assert "s0, s1, s2, s3, s4 and 2 more" in told(structures=some)


def test_what_no_validation_case_holds_is_not_lost():
    assert why_little(replace(RUN, dice=0.8, structures=(replace(JAW, dice=0.8), replace(CORD, dice=None)))) == []
