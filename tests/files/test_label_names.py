import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tomoseg.errors import InputError, LabelError
from tomoseg.files.label_names import (
    check_file_name,
    format_label_names,
    label_set_named,
    label_set_of,
    read_label_names,
    values_in,
)
from tomoseg.labels import LabelSet


@pytest.mark.parametrize(
    "text",
    [
        '{"1": "liver", "2": "spleen"}',
        '{"spleen": 2, "liver": 1}',
        '\ufeff{"background": 0, "liver": 1, "spleen": 2}',
        '{"0": "background", "2": "spleen", "1": "liver"}',
    ],
)
def test_either_direction_without_background(tmp_path, text):
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    assert read_label_names(tmp_path / "labels.json") == {1: "liver", 2: "spleen"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": "liver", "1": "spleen"}', "expected each key once, got twice: 1"),
        ('{"liver": 1, "liver": 2}', "expected each key once, got twice: liver"),
        ('{"1": "liver", "2": "liver"}', "expected each name once, got twice: liver"),
        ('{"liver": 3, "spleen": 3}', "expected each value once, got twice: 3"),
        ('{"1": "liver", "01": "spleen"}', "expected each value once, got twice: 1"),
        ('{"liver": -1}', "expected values from 0 to 65535, got -1 for 'liver'"),
        ('{"70000": "liver"}', "expected values from 0 to 65535, got 70000"),
        ('{"liver": 1.5}', "expected pairs like .*, got 'liver': 1.5"),
        ('{"liver": true}', "expected pairs like .*, got 'liver': True"),
        ("{}", 'expected {"1": "spleen", ...}, got {}'),
        ("[1]", r'expected {"1": "spleen", ...}, got \[1\]'),
        ('{"1": "../../etc/passwd"}', r"expected names that can be file names, got '\.\./\.\./etc/passwd'"),
    ],
)
def test_labels_that_contradict_themselves_are_refused(tmp_path, text, message):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(LabelError, match=f"labels.json: {message}"):
        read_label_names(tmp_path / "labels.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"1": ', "expected JSON"), (b"\xff\xfe", "expected JSON"), (b"[" * 100_000, "expected JSON")],
)
def test_files_that_are_no_json_are_refused(tmp_path, content, message):
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_label_names(tmp_path / "labels.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a readable file, got: No such file"):
        read_label_names(tmp_path / "labels.json")


@given(st.dictionaries(st.integers(1, 65535), st.uuids().map(str), min_size=1))
def test_what_is_written_is_read_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("names") / "labels.json"
    path.write_text(format_label_names(names), encoding="utf-8")
    assert read_label_names(path) == names
    assert list(json.loads(path.read_text())) == [str(value) for value in names]


def test_a_label_set_is_part_of_the_117_only_if_ids_agree():
    total = LabelSet.total()
    assert label_set_of({5: "liver", 1: "spleen"}) == total.subset(["spleen", "liver"])
    own = label_set_of({1: "liver", 7: "tumour"})
    assert (own.names, own.ids) == (("liver", "tumour"), (1, 7))
    assert own["liver"].snomed == total["liver"].snomed


def test_a_label_set_by_names_is_sorted_unless_all_are_of_the_117():
    assert label_set_named(["liver", "spleen"]).ids == (1, 5)
    assert label_set_named(["tumour", "liver"]).names == ("liver", "tumour")
    assert label_set_named(["tumour", "liver"]).ids == (1, 2)
    with pytest.raises(LabelError, match="expected at least one structure"):
        label_set_named([])


def test_given_ids_take_the_place_of_others_and_leave_the_order():
    own = label_set_named(["tumour", "jaw", "cord"], {"jaw": 1, "cord": 2})
    assert (own.names, own.ids) == (("cord", "jaw", "tumour"), (2, 1, 3))
    of_total = label_set_named(["liver", "spleen"], {"liver": 1, "spleen": 2})
    assert (of_total.names, of_total.ids) == (("spleen", "liver"), (2, 1))
    assert of_total["liver"].snomed == LabelSet.total()["liver"].snomed


def test_the_rest_keeps_its_id_of_the_117_where_the_given_ones_are_those():
    assert label_set_named(["liver", "aorta"], {"liver": 5}) == LabelSet.total().subset(["liver", "aorta"])
    assert label_set_named(["liver", "aorta"], {"liver": 9})["aorta"].id == 10
    assert label_set_named(["liver", "tumour"], {"liver": 5})["tumour"].id == 6


@given(hnp.arrays(np.uint16, (3, 4, 5), elements=st.integers(0, 65535)))
def test_values_in_as_numpy_finds_them(labels):
    assert values_in(labels[::-1]) == tuple(np.unique(labels))


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a\\b", "a\nb", "c:d", ".."])
def test_names_that_could_not_be_files(name):
    with pytest.raises(LabelError, match="expected names that can be file names"):
        check_file_name(name, "labels.json")
