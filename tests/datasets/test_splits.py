from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.datasets.cases import Case
from tomoseg.datasets.splits import assign_splits
from tomoseg.errors import DatasetError, InputError

SHARES = st.tuples(st.floats(0, 0.6), st.floats(0, 0.39))


def case(name, patient=None, split=None):
    return Case(name=name, patient=patient or name, ct=Path(f"{name}/ct.nii.gz"), masks={}, annotated=(), split=split)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), SHARES, st.integers(0, 1000))
def test_every_case_has_a_split_and_no_patient_has_two(patients, shares, seed):
    cases = [case(f"c{number}", f"p{patient}") for number, patient in enumerate(patients)]
    splits = assign_splits(cases, *shares, seed)
    assert splits.keys() == {c.name for c in cases}
    by_patient = {c.patient: {splits[d.name] for d in cases if d.patient == c.patient} for c in cases}
    assert all(len(found) == 1 for found in by_patient.values())
    assert "train" in splits.values()
    counts = {name: sum(found == {name} for found in by_patient.values()) for name in ("validation", "test")}
    for name, share in zip(("validation", "test"), shares, strict=True):
        assert counts[name] <= max(1, round(share * len(by_patient)))
        assert counts[name] == 0 or share > 0
    assert counts["validation"] >= 1 or shares[0] == 0 or len(by_patient) == 1
    assert assign_splits(cases[::-1], *shares, seed) == splits


@given(st.integers(10, 60), st.integers(0, 1000))
def test_a_new_case_moves_few_others(number, seed):
    cases = [case(f"c{n}") for n in range(number)]
    before = assign_splits(cases, 0.2, 0.1, seed)
    after = assign_splits([*cases, case("new")], 0.2, 0.1, seed)
    assert sum(before[name] != after[name] for name in before) <= 2


def test_shares_are_of_patients_and_seeds_differ():
    cases = [case(f"c{n}") for n in range(20)]
    splits = list(assign_splits(cases, 0.25, 0.1, 0).values())
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (13, 5, 2)
    assert assign_splits(cases, 0.25, 0.1, 0) != assign_splits(cases, 0.25, 0.1, 1)


def test_validation_comes_before_test_and_training_before_both():
    assert set(assign_splits([case("a")], 0.5, 0.4, 0).values()) == {"train"}
    assert sorted(assign_splits([case("a"), case("b")], 0.5, 0.4, 0).values()) == ["train", "validation"]
    assert sorted(assign_splits([case("a"), case("b"), case("c")], 0.1, 0.1, 0).values()) == [
        "test",
        "train",
        "validation",
    ]


def test_own_splits_are_kept():
    cases = [case("a", split="train"), case("b", split="validation"), case("c", split="test")]
    assert assign_splits(cases, 0.5, 0, 0) == {"a": "train", "b": "validation", "c": "test"}


def test_validation_is_drawn_from_training_where_the_dataset_has_none():
    cases = [*(case(f"a{n}", split="train") for n in range(10)), case("t", split="test")]
    splits = assign_splits(cases, 0.2, 0.5, 0)
    assert splits["t"] == "test"
    assert sorted(splits.values()) == ["test"] + ["train"] * 8 + ["validation"] * 2


def test_own_splits_that_leave_a_case_out_are_refused():
    with pytest.raises(DatasetError, match="expected a split for every case, since others have one, got none for b"):
        assign_splits([case("a", split="train"), case("b")], 0.2, 0, 0)


def test_own_splits_that_divide_a_patient_are_refused():
    cases = [case("a", "p1", "train"), case("b", "p1", "test")]
    with pytest.raises(
        DatasetError, match="expected all cases of patient p1 in one split, got a in train and b in test"
    ):
        assign_splits(cases, 0.2, 0, 0)


@pytest.mark.parametrize("shares", [(-0.1, 0), (0, -0.1), (0.5, 0.5), (1, 0)])
def test_shares_out_of_range_are_refused(shares):
    with pytest.raises(InputError, match="expected shares of 0 or more that add up to less"):
        assign_splits([case("a")], *shares, 0)
