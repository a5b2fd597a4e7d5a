import json

import pytest

from tests.datasets.test_layouts import as_lists, image, mask_case
from tomoseg.datasets.label_ids import given_ids
from tomoseg.datasets.layouts import find_dataset
from tomoseg.labels import LabelSet


def ids_of(folder):
    labels = find_dataset(folder).labels
    return dict(zip(labels.names, labels.ids, strict=True))


def map_case(folder, names=None, values=(0, 1, 2)):
    image(folder / "ct.nii.gz", (0,) * len(values))
    image(folder / "seg.nii.gz", values)
    if names is not None:
        (folder / "labels.json").write_text(json.dumps(names))


@pytest.mark.parametrize("names", [{"1": "jaw", "2": "cord"}, {"jaw": 1, "cord": 2}])
def test_ids_are_those_of_labels_json(tmp_path, names):
    map_case(tmp_path / "s0")
    (tmp_path / "labels.json").write_text(json.dumps(names))
    dataset = find_dataset(tmp_path)
    assert ids_of(tmp_path) == {"cord": 2, "jaw": 1}
    assert dataset.labels.names == ("cord", "jaw")  # channels are by name, whatever the ids are
    assert as_lists(dataset.cases[0], dataset.labels) == {"cord": [0, 0, 1], "jaw": [0, 1, 0]}
    assert dataset.warnings == ()


def test_ids_of_names_that_are_all_of_the_117_are_kept_too(tmp_path):
    map_case(tmp_path / "s0", {"1": "liver", "2": "spleen"})
    assert ids_of(tmp_path) == {"liver": 1, "spleen": 2}


@pytest.mark.parametrize("listed", [True, False])
def test_ids_are_those_of_dataset_json(tmp_path, listed):
    image(tmp_path / "imagesTr" / "a_0000.nii.gz", (0, 0, 0))
    image(tmp_path / "labelsTr" / "a.nii.gz", (0, 1, 7))
    content = {"labels": {"background": 0, "tooth": 1, "jaw": 7}}
    if listed:
        content["labels"] = {"0": "background", "1": "tooth", "7": "jaw"}
        content["training"] = [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert ids_of(tmp_path) == {"jaw": 7, "tooth": 1}


def test_a_region_has_the_first_value_that_no_other_has():
    assert given_ids({"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}) == {"enhancing": 3, "whole": 1, "core": 2}
    assert given_ids({"both": (1, 2), "left": (1,), "right": (2,)}) == {"left": 1, "right": 2}


def test_a_region_of_values_that_others_have_has_a_number_above_them(tmp_path):
    image(tmp_path / "imagesTr" / "a_0000.nii.gz", (0, 0, 0))
    image(tmp_path / "labelsTr" / "a.nii.gz", (0, 1, 2))
    labels = {"background": 0, "both": [1, 2], "left": 1, "right": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert ids_of(tmp_path) == {"both": 3, "left": 1, "right": 2}


def test_mask_files_beside_label_maps_have_numbers_above_them(tmp_path):
    map_case(tmp_path / "s0", {"1": "jaw", "4": "cord"}, (0, 1, 4))
    mask_case(tmp_path / "s1", "tooth", "jaw")
    assert ids_of(tmp_path) == {"cord": 4, "jaw": 1, "tooth": 5}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"2": "jaw", "1": "cord"}, "disagree about ids (cord has the values 2 and 1)"),
        ({"1": "tooth"}, "disagree about ids (1 stands for jaw and for tooth)"),
    ],
)
def test_cases_that_disagree_are_numbered_anew_and_told(tmp_path, second, message):
    map_case(tmp_path / "s0", {"1": "jaw", "2": "cord"})
    map_case(tmp_path / "s1", second, (0, 1, 0))
    (warning,) = find_dataset(tmp_path).warnings
    assert message in warning
    names = sorted({"jaw", "cord", *second.values()})
    assert ids_of(tmp_path) == {name: number for number, name in enumerate(names, start=1)}


def test_cases_may_know_different_structures(tmp_path):
    map_case(tmp_path / "s0", {"1": "jaw", "5": "cord"}, (0, 1, 5))
    map_case(tmp_path / "s1", {"1": "jaw", "3": "tooth"}, (0, 1, 3))
    assert ids_of(tmp_path) == {"cord": 5, "jaw": 1, "tooth": 3}
    assert find_dataset(tmp_path).warnings == ()


def test_a_structure_that_nobody_looked_for_has_no_say(tmp_path):
    map_case(tmp_path / "s0", ["cord"])
    (tmp_path / "labels.json").write_text(json.dumps({"1": "jaw", "2": "cord"}))
    assert ids_of(tmp_path) == {"cord": 2}


def test_a_set_without_values_is_numbered_by_name(tmp_path):
    mask_case(tmp_path / "s0", "jaw", "cord")
    assert ids_of(tmp_path) == {"cord": 1, "jaw": 2}
    mask_case(tmp_path / "total" / "s0", "aorta", "liver")
    assert ids_of(tmp_path / "total") == {"liver": LabelSet.total()["liver"].id, "aorta": LabelSet.total()["aorta"].id}
