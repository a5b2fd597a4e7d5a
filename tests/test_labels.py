import csv
import json
from itertools import pairwise

import numpy as np
import pytest

from tomoseg.errors import LabelError, unknown_name_message
from tomoseg.labels import LabelSet, Structure, label_type


@pytest.fixture
def three():
    liver, aorta, spleen = (5, "liver", "organs"), (2, "aorta", "vessels"), (9, "spleen", "organs")
    return LabelSet((Structure(*liver), Structure(*aorta), Structure(*spleen)))


def test_channel_is_the_place_and_id_the_value(three):
    assert len(three) == 3
    assert three.names == ("liver", "aorta", "spleen")
    assert three.ids == (5, 2, 9)
    assert [three.channel(name) for name in three.names] == [0, 1, 2]
    assert three["aorta"].id == 2
    assert [s.name for s in three] == ["liver", "aorta", "spleen"]
    assert "aorta" in three
    assert "heart" not in three
    assert three.groups == {"organs": ("liver", "spleen"), "vessels": ("aorta",)}


def test_subset_keeps_order_and_ids(three):
    kept = three.subset(["spleen", "liver"])
    assert kept.names == ("liver", "spleen")
    assert kept.ids == (5, 9)


def test_unknown_names_get_the_nearest(three):
    with pytest.raises(LabelError, match=r"expected one of 3 known names, got 'aotra'; did you mean 'aorta'\?$"):
        three.channel("aotra")
    with pytest.raises(LabelError, match=r"got 'splen'; did you mean 'spleen'\?$"):
        three.subset(["liver", "splen"])
    with pytest.raises(LabelError, match=r"got 'xyz'; choose from liver, aorta, spleen$"):
        three["xyz"]
    assert unknown_name_message("?", list("abcdefghi")).endswith("choose from a, b, c, d, e, f, g, h, ...")


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        ((), "at least one structure, got none"),
        ((Structure(1, "a"), Structure(2, "a")), "each structure name once, got twice: a;"),
        ((Structure(1, "a"), Structure(1, "b")), "each structure id once, got twice: 1;"),
        ((Structure(0, "a"),), r"ids of 1 or more \(0 is background\), got 0"),
        ((Structure(3, "a"), Structure(-1, "b")), "ids of 1 or more .*, got -1"),
    ],
)
def test_sets_that_cannot_be(structures, message):
    with pytest.raises(LabelError, match=message):
        LabelSet(structures)


def test_json_round_trip():
    total = LabelSet.total()
    assert LabelSet.from_dicts(json.loads(json.dumps(total.to_dicts()))) == total


@pytest.mark.parametrize("record", [{"id": 1}, {"id": 1, "name": "a", "color": [1, 2, 3]}])
def test_records_with_a_missing_or_unknown_key(record):
    message = r"expected structures with id, name, group.*(missing|unexpected).*write the file"
    with pytest.raises(LabelError, match=message):
        LabelSet.from_dicts([record])


def test_from_names_counts_ids_and_knows_the_117():
    made = LabelSet.from_names(["brainstem_nucleus", "spleen", "kidney_left"])
    assert made.ids == (1, 2, 3)
    known = LabelSet.total()["kidney_left"]
    assert made["kidney_left"] == Structure(
        3, "kidney_left", known.group, known.snomed, known.snomed_meaning, known.laterality, known.colour
    )
    assert made["brainstem_nucleus"].snomed is None
    assert made["brainstem_nucleus"].group == "other"


def test_unknown_names_get_colours_of_their_own():
    colours = [s.colour for s in LabelSet.from_names([f"thing_{n}" for n in range(30)])]
    assert len(set(colours)) == 30
    assert all(0 <= part <= 255 for colour in colours for part in colour)
    # Neighbours are a golden ratio of the colour circle apart, so never alike.
    steps = [np.abs(np.subtract(*pair)).sum() for pair in pairwise(colours)]
    assert min(steps) > 100


def test_a_colour_of_its_own_is_unlike_those_of_the_117_beside_it():
    # By number alone the larynx would be (242, 85, 223), a pink beside the esophagus' (190, 90, 170).
    labels = LabelSet.from_names(["brainstem", "esophagus", "larynx"])
    assert labels["esophagus"].colour == LabelSet.total()["esophagus"].colour
    assert np.linalg.norm(np.subtract(labels["larynx"].colour, labels["esophagus"].colour)) > 110


def test_the_117():
    total = LabelSet.total()
    assert len(total) == 117
    assert total.ids == tuple(range(1, 118))
    assert len({s.colour for s in total}) == 117
    assert (total.names[0], total.names[4], total.names[116]) == ("spleen", "liver", "costal_cartilages")
    kidney = Structure(2, "kidney_right", "organs", "64033007", "Kidney", "Right", (34, 102, 136))
    assert total["kidney_right"] == kidney


def test_left_and_right_of_the_117():
    total = LabelSet.total()
    sides = {name: "Left" if "_left" in name else "Right" if "_right" in name else None for name in total.names}
    # The code of this lobe says the side itself; that of a cyst is not the code of the organ that has sides.
    sides |= dict.fromkeys(["lung_middle_lobe_right", "kidney_cyst_left", "kidney_cyst_right"])
    assert {s.name: s.laterality for s in total} == sides


def test_groups_of_the_117():
    groups = LabelSet.total().groups
    assert sum(map(len, groups.values())) == 117
    # 7 cervical, 12 thoracic, 5 lumbar vertebrae and S1; 12 pairs of ribs.
    assert len(groups["vertebrae"]) == 25
    assert len(groups["ribs"]) == 24
    assert all(name.startswith("rib_") for name in groups["ribs"])


def test_the_117_are_those_of_the_published_table(test_data):
    table = test_data.parent / "labels" / "total_v2.csv"
    if not table.is_file():
        pytest.skip(f"needs the published label table, found none at {table}")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    published = [
        (int(r["id"]), r["name"], r["type_code"], r["type_meaning"], tuple(map(int, r["dicom_rgb"].split(","))))
        for r in rows
    ]
    assert [(s.id, s.name, s.snomed, s.snomed_meaning, s.colour) for s in LabelSet.total()] == published


def test_structures_beside_the_117_may_have_codes():
    brainstem, left, odd = LabelSet.from_names(("brainstem", "parotid_gland_left", "abacus"))
    assert (brainstem.snomed, brainstem.snomed_meaning, brainstem.laterality) == ("15926001", "Brainstem", None)
    assert (left.snomed, left.laterality, left.group) == ("45289007", "Left", "other")
    assert (odd.snomed, odd.snomed_meaning, odd.laterality) == (None, None, None)


def test_a_label_map_is_as_small_as_its_ids_allow():
    kinds = [label_type(ids) for ids in ([1], [255, 3], [3, 256], [65535])]
    assert kinds == [np.uint8, np.uint8, np.uint16, np.uint16]
    with pytest.raises(LabelError, match=r"expected ids up to 65535 for a label map, got 65536; renumber the struct"):
        label_type([1, 65536])
