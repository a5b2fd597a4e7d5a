import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.planning.cost import StepCost, usual_cost, work_of

COST = StepCost(step_seconds=0.1, work_seconds=1e-6, fixed_bytes=1_000_000, work_bytes=10.0)


def test_slices_by_hand():
    """A step of 4 slices of 50 000 takes 0.1 + 0.2 s; nine tenths of a minute have 180 of them."""
    assert COST.slices_in(1.0, 4, 50_000) == 4 * 180


def test_slices_of_twice_the_pixels():
    twice = COST.times(2.0)
    assert twice.bytes_of(4, 50_000) == 5_000_000
    assert twice.slices_in(1.0, 4, 50_000) == COST.slices_in(1.0, 4, 100_000)


def test_minutes_are_the_inverse():
    assert COST.minutes_for(4 * 180, 4, 50_000) == pytest.approx(1.0)


def test_memory():
    assert COST.bytes_of(4, 50_000) == 3_000_000
    assert COST.batch_within(3_000_000, 50_000) == 4
    assert COST.batch_within(900_000, 50_000) == 0


@given(st.floats(0.1, 1000), st.integers(1, 64), st.floats(1e3, 1e8))
def test_so_many_slices_take_no_more_than_the_minutes(minutes, batch, work):
    slices = COST.slices_in(minutes, batch, work)
    assert COST.minutes_for(slices, batch, work) <= minutes * (1 + 1e-9)


def test_work_of_a_level_is_a_quarter():
    assert work_of(1000, (16, 32, 64), 8) == 1000 * (16 + 8 + 4 + 2)


def test_more_cores_and_a_gpu_are_faster():
    one, two, gpu = (usual_cost(on_gpu=g, cores=c).work_seconds for g, c in ((False, 1), (False, 2), (True, 2)))
    assert one == 2 * two
    assert gpu < two
