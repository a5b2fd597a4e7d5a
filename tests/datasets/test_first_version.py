import numpy as np
import pytest

from tests.datasets.test_layouts import as_lists, image
from tomoseg.datasets.first_version import in_second_version, is_first_version, names_of_first_version
from tomoseg.datasets.layouts import find_dataset
from tomoseg.files.label_names import format_label_names
from tomoseg.labels import LabelSet

SIDED = [
    "kidney",
    "adrenal_gland",
    "iliac_artery",
    "iliac_vena",
    "humerus",
    "scapula",
    "clavicula",
    "femur",
    "hip",
    "gluteus_maximus",
    "gluteus_medius",
    "gluteus_minimus",
    "autochthon",
    "iliopsoas",
]
SINGLE = [
    "spleen",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "pancreas",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    "esophagus",
    "trachea",
    "heart_myocardium",
    "heart_atrium_left",
    "heart_ventricle_left",
    "heart_atrium_right",
    "heart_ventricle_right",
    "pulmonary_artery",
    "brain",
    "small_bowel",
    "duodenum",
    "colon",
    "sacrum",
    "face",
    "urinary_bladder",
]
VERTEBRAE = [*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6))]
THE_104 = [
    *SINGLE,
    *(f"{name}_{side}" for name in SIDED for side in ("left", "right")),
    *(f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)),
    *(f"vertebrae_{name}" for name in VERTEBRAE),
]


def test_the_104_names():
    assert len(THE_104) == 104
    assert names_of_first_version() == set(THE_104)


def test_98_of_the_117_come_out_of_the_104():
    total = set(LabelSet.total().names)
    mapped = {name: in_second_version(name) for name in THE_104}
    assert {name for name, new in mapped.items() if new is None} == {"face", "pulmonary_artery"}
    assert sum(name == new for name, new in mapped.items()) == 97
    assert len(set(mapped.values()) - {None}) == 98
    assert set(mapped.values()) - {None} <= total


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (THE_104, True),
        ([name for name in THE_104 if name != "liver"], True),
        ([name for name in THE_104 if name != "face"], False),
        ([*THE_104, "sternum"], False),
        (LabelSet.total().names, False),
        (["heart_atrium_left", "heart_atrium_right", "pulmonary_artery"], False),
        ([], False),
    ],
)
def test_it_is_recognised_by_its_names(names, expected):
    assert is_first_version(names) is expected


def test_masks_of_the_first_version(tmp_path):
    voxels = {name: (0, 0, 0, 0, 0) for name in THE_104}
    voxels |= {
        "liver": (1, 0, 0, 0, 0),
        "heart_myocardium": (0, 1, 0, 0, 0),
        "heart_ventricle_right": (0, 0, 1, 0, 0),
        "pulmonary_artery": (0, 0, 0, 1, 0),
        "face": (0, 0, 0, 0, 1),
    }
    image(tmp_path / "s0" / "ct.nii.gz", (0, 0, 0, 0, 0))
    image(tmp_path / "s1" / "ct.nii.gz", (0, 0, 0, 0, 0))
    image(tmp_path / "s1" / "segmentations" / "heart.nii.gz", (0, 0, 0, 0, 1))
    for name, values in voxels.items():
        image(tmp_path / "s0" / "segmentations" / f"{name}.nii.gz", values)
    dataset = find_dataset(tmp_path)
    first, second = (as_lists(case, dataset.labels) for case in dataset.cases)
    assert dataset.labels.names == LabelSet.total().subset([n for n in first]).names
    assert len(first) == 98
    assert first["liver"] == [1, 0, 0, 0, 0]
    assert first["heart"] == [0, 1, 1, 0, 0]
    assert {name for name, values in first.items() if any(values)} == {"liver", "heart"}
    assert second == {"heart": [0, 0, 0, 0, 1]}
    assert dataset.warnings == (
        "1 of 2 cases have the 104 structures of the public dataset's first version: heart is the union of its 5 parts "
        "there, and face and pulmonary_artery are left out.",
    )


def test_a_label_map_of_the_first_version(tmp_path):
    values = {number: name for number, name in enumerate(THE_104, start=1)}
    by_name = {name: number for number, name in values.items()}
    shown = [
        by_name[n] for n in ("face", "heart_atrium_left", "heart_ventricle_left", "pulmonary_artery", "rib_left_1")
    ]
    image(tmp_path / "s0" / "ct.nii.gz", np.zeros(5))
    image(tmp_path / "s0" / "labels.nii.gz", shown)
    (tmp_path / "labels.json").write_text(format_label_names(values))
    dataset = find_dataset(tmp_path)
    masks = as_lists(dataset.cases[0], dataset.labels)
    assert {name: mask for name, mask in masks.items() if any(mask)} == {
        "heart": [0, 1, 1, 0, 0],
        "rib_left_1": [0, 0, 0, 0, 1],
    }
