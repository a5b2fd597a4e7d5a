"""Patients dealt into folds."""

import json

import pytest

from tests.training.tiny import NATIVE, add_case, finish, make_scan
from tomoseg.errors import DatasetError
from tomoseg.training.folds import assign_folds, fold_of


def make_patients(folder, patients, splits=None, holding=None):
    """A dataset of a case for each name; `patients` says whose it is, `holding` which have a ball and a cube."""
    for seed, (name, patient) in enumerate(patients.items()):
        hu, masks = make_scan(seed)
        masks[2] = 0
        for channel, names in (holding or {}).items():
            if name not in names:
                masks[channel] = 0
        add_case(folder, name, hu, masks, NATIVE)
        path = folder / "cases" / name / "case.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"patient": patient}))
    return finish(folder, {name: (splits or {}).get(name, "train") for name in patients})


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Six patients and a test patient; `a` has two cases, `b` and `e` alone have a ball."""
    patients = {"a1": "a", "a2": "a", "b": "b", "c": "c", "d": "d", "e": "e", "f": "f", "t": "t"}
    splits = {"f": "validation", "t": "test"}
    return make_patients(tmp_path_factory.mktemp("six"), patients, splits, {0: ("b", "e")})


@pytest.mark.parametrize("folds", [2, 3, 5, 6])
def test_patients_stay_together_and_folds_are_even(six, folds):
    dealt = assign_folds(six, folds, seed=0)
    assert set(dealt) == {"a1", "a2", "b", "c", "d", "e", "f"}
    assert dealt["a1"] == dealt["a2"]
    of_patients = [dealt[name] for name in ("a1", "b", "c", "d", "e", "f")]
    sizes = [of_patients.count(fold) for fold in range(1, folds + 1)]
    assert sum(sizes) == 6
    assert min(sizes) >= 1
    assert max(sizes) <= -(-6 // folds)


@pytest.mark.parametrize("seed", range(8))
def test_a_rare_structure_is_in_as_many_folds_as_it_can_be(six, seed):
    dealt = assign_folds(six, 2, seed)
    assert dealt["b"] != dealt["e"]


def test_the_seed_alone_decides(six):
    assert assign_folds(six, 3, 0) == assign_folds(six, 3, 0)
    assert len({tuple(assign_folds(six, 3, seed).values()) for seed in range(6)}) > 1


def test_a_fold_s_own_cases_validate_and_the_others_train(six):
    dealt = assign_folds(six, 3, 0)
    own = fold_of(six, dealt, 2)
    found = {case.name: case.split for case in own.cases}
    assert found.pop("t") == "test"
    assert found == {name: "validation" if fold == 2 else "train" for name, fold in dealt.items()}
    assert [case.split for case in six.cases if case.name == "f"] == ["validation"]  # the dataset is as it was


def test_fewer_patients_than_folds_are_refused(six):
    with pytest.raises(DatasetError, match=r"expected 7 patients or more for 7 folds, got 6 .* take 6 folds at most"):
        assign_folds(six, 7, 0)


def test_one_patient_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"expected 2 patients or more for 2 folds, got 1 .*; add patients"):
        assign_folds(make_patients(tmp_path, {"a1": "a", "a2": "a"}), 2, 0)
