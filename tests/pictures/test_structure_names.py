"""What structures are called for the eye."""

import pytest

from tomoseg.labels import LabelSet
from tomoseg.pictures.structure_names import readable, readable_group


@pytest.mark.parametrize(
    ("name", "french"),
    [
        ("kidney_left", "rein gauche"),
        ("clavicula_right", "clavicule droite"),
        ("rib_left_1", "1re côte gauche"),
        ("rib_right_12", "12e côte droite"),
        ("vertebrae_T4", "vertèbre T4"),
        ("lung_upper_lobe_left", "lobe supérieur du poumon gauche"),
        ("spinal_cord", "moelle épinière"),
        ("portal_vein_and_splenic_vein", "veines porte et splénique"),
        ("my_own_left", "my own left"),
    ],
)
def test_french_names(name, french):
    assert readable(name, "fr") == french
    assert readable(name) == name.replace("_", " ")


def test_every_structure_and_group_of_the_117_has_a_french_name_of_its_own():
    total = LabelSet.total()
    french = [readable(name, "fr") for name in total.names]
    assert len(set(french)) == len(total)
    alike = {"duodenum", "pancreas", "prostate", "sacrum", "sternum", "colon"}
    assert {name for name, told in zip(total.names, french, strict=True) if told == name} <= alike
    assert all(readable_group(group, "fr") != group for group in total.groups if group != "muscles")
