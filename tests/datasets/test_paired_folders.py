import json

import pytest

from tests.datasets.test_layouts import as_lists, image
from tomoseg.datasets.layouts import find_dataset
from tomoseg.datasets.splits import assign_splits
from tomoseg.errors import DatasetError

NAMES = {"1": "liver", "3": "spleen"}


def names(folder, content=NAMES):
    (folder / "labels.json").write_text(json.dumps(content))


def pair(root, name, label=None, part="", values=(0, 1, 3)):
    image(root / f"images{part}" / f"{name}.nii.gz", (0, 0, 0))
    image(root / f"labels{part}" / f"{label or name}.nii.gz", values)


@pytest.mark.parametrize("part", ["", "Tr"])
def test_images_beside_labels(tmp_path, part):
    pair(tmp_path, "a", part=part)
    pair(tmp_path, "b_0000", "b", part=part)
    names(tmp_path)
    found = find_dataset(tmp_path)
    assert found.layout == "paired folders"
    assert [(case.name, case.patient, case.ct.name, case.split) for case in found.cases] == [
        ("a", "a", "a.nii.gz", None),
        ("b", "b", "b_0000.nii.gz", None),
    ]
    assert as_lists(found.cases[1], found.labels) == {"liver": [0, 1, 0], "spleen": [0, 0, 1]}
    assert found.warnings == found.left_out == ()


@pytest.mark.parametrize("label", ["a", "a_seg", "a_labels", "a-label", "a_mask", "a_0000", "a_0000_seg"])
def test_words_for_labels_and_channel_numbers(tmp_path, label):
    pair(tmp_path, "a_0000", label)
    names(tmp_path)
    assert [case.label_map.name for case in find_dataset(tmp_path).cases] == [f"{label}.nii.gz"]


def test_numbers_that_are_cases_are_no_channels(tmp_path):
    for number in ("0000", "0001", "0002"):
        pair(tmp_path, f"liver_{number}")
    image(tmp_path / "images" / "liver_0003.nii.gz")
    names(tmp_path)
    found = find_dataset(tmp_path)
    assert [case.name for case in found.cases] == ["liver_0000", "liver_0001", "liver_0002"]
    assert "liver_0003.nii.gz: a scan without a label map in labels was left out" in str(found.left_out[0])


def test_several_channels_are_refused(tmp_path):
    pair(tmp_path, "a_0000", "a", part="Tr")
    image(tmp_path / "imagesTr" / "a_0001.nii.gz")
    names(tmp_path)
    with pytest.raises(DatasetError, match="expected one channel, CT, got a_0000 and a_0001"):
        find_dataset(tmp_path)


def test_what_has_no_other_half_is_named(tmp_path):
    pair(tmp_path, "a")
    image(tmp_path / "images" / "b.nii.gz")
    image(tmp_path / "labels" / "c.nii.gz")
    image(tmp_path / "atlas.nii.gz")
    names(tmp_path)
    found = find_dataset(tmp_path)
    assert [case.name for case in found.cases] == ["a"]
    told = " ".join(map(str, found.left_out))
    assert "b.nii.gz: a scan without a label map in labels was left out" in told
    assert "c.nii.gz: a label map without a scan of the same name in images was left out" in told
    assert "atlas.nii.gz: a file beside the folders" in told
    assert len(found.left_out) == 3


def test_two_label_maps_of_a_scan_are_refused(tmp_path):
    pair(tmp_path, "a")
    image(tmp_path / "labels" / "a_seg.nii.gz")
    names(tmp_path)
    with pytest.raises(DatasetError, match=r"expected one label map for a, got a\.nii\.gz, a_seg\.nii\.gz"):
        find_dataset(tmp_path)


def test_folders_for_the_test(tmp_path):
    pair(tmp_path, "a_0000", "a", part="Tr")
    pair(tmp_path, "b_0000", "b", part="Tr")
    pair(tmp_path, "c_0000", "c", part="Ts")
    names(tmp_path)
    cases = find_dataset(tmp_path).cases
    assert {case.name: case.split for case in cases} == {"a": "train", "b": "train", "c": "test"}
    assert sorted(assign_splits(cases, 0.5, 0.2, 0).values()) == ["test", "train", "validation"]


def test_scans_of_a_test_without_labels_are_not_used(tmp_path):
    pair(tmp_path, "a_0000", "a", part="Tr")
    image(tmp_path / "imagesTs" / "b_0000.nii.gz")
    names(tmp_path)
    found = find_dataset(tmp_path)
    assert [(case.name, case.split) for case in found.cases] == [("a", None)]
    assert found.left_out == ()


@pytest.mark.parametrize("inside", [True, False])
def test_folders_of_splits(tmp_path, inside):
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        for kind in ("images", "labels"):
            folder = tmp_path / kind / split if inside else tmp_path / split / kind
            image(folder / f"{name}.nii.gz", (0, 1, 3))
    names(tmp_path)
    assert [case.split for case in find_dataset(tmp_path).cases] == ["train", "validation", "test"]


def test_names_in_the_folder_of_labels_or_beside_a_map(tmp_path):
    pair(tmp_path, "a")
    pair(tmp_path, "b", values=(0, 1, 1))
    names(tmp_path / "labels")
    (tmp_path / "labels" / "b.labels.json").write_text('{"1": "aorta"}')
    assert [case.annotated for case in find_dataset(tmp_path).cases] == [("liver", "spleen"), ("aorta",)]


def test_values_without_names_are_listed(tmp_path):
    pair(tmp_path, "a", values=(0, 7, 2))
    with pytest.raises(DatasetError, match=r'got no labels\.json; write {"2": "NAME", "7": "NAME"}, with the'):
        find_dataset(tmp_path)
    (tmp_path / "labels" / "a.nii.gz").write_bytes(b"none")
    with pytest.raises(DatasetError, match=r'got no labels\.json; write {"1": "spleen", \.\.\.} to'):
        find_dataset(tmp_path)
