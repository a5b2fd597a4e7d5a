import json

import numpy as np
import pytest

from tests.preprocessed.scans import make_case
from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError
from tomoseg.labels import LabelSet
from tomoseg.preprocessed.format import CASE_RECORD, CASES, INDEX, DatasetIndex
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.write import write_case

GRID = GridConfig(mode="native", crop="none", body_margin_mm=3.5)
LABELS = LabelSet.from_names(["liver", "tumour"])
SPLITS = {"b": "train", "a": "validation", "c": "train"}


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(SPLITS):
        inner = tmp_path / CASES / name
        inner.mkdir(parents=True)
        hu = np.full((3, 2, 2), number, np.int16)
        write_case(make_case(hu, {0: hu > 0}, 2, name=name), inner, GRID, keep_native=True, threads=1)
    (tmp_path / INDEX).write_text(DatasetIndex(LABELS, GRID, SPLITS).to_json())
    return tmp_path


def change(folder, **entries):
    content = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(content | entries))


def test_cases_by_name_and_split(folder):
    data = Preprocessed(folder)
    assert (data.labels, data.grid) == (LABELS, GRID)
    assert [(case.name, case.split) for case in data.cases] == [("a", "validation"), ("b", "train"), ("c", "train")]
    assert [case.name for case in data.split("train")] == ["b", "c"]
    assert [int(case.ct_slice(1)[0, 0]) for case in data.cases] == [1, 0, 2]


def test_an_empty_split(folder):
    expected = r"expected cases in split 'test', got train 2, validation 1, test 0; choose another split"
    with pytest.raises(DatasetError, match=expected):
        Preprocessed(folder).split("test")


def test_no_index(folder):
    (folder / INDEX).unlink()
    for place in (folder, folder / "none"):
        with pytest.raises(DatasetError, match=r"expected a preprocessed dataset .*found none; run `tomoseg prep"):
            Preprocessed(place)


def test_a_case_of_the_index_is_missing(folder):
    (folder / CASES / "b" / CASE_RECORD).unlink()
    with pytest.raises(DatasetError, match=r"b.case\.json: expected a case record, got: FileNotFoundError"):
        Preprocessed(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version(folder, version):
    change(folder, format=version)
    with pytest.raises(
        DatasetError, match=f"expected format version 1, got {version!r}; delete it and preprocess again with this"
    ):
        Preprocessed(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"splits": {}}', '{"format": 1'])
def test_an_index_that_is_none(folder, text):
    (folder / INDEX).write_text(text)
    with pytest.raises(
        DatasetError, match=r"preprocessed\.json: expected an index of cases, got: .*; delete it and preprocess again"
    ):
        Preprocessed(folder)


@pytest.mark.parametrize(
    "entries",
    [
        {"splits": []},
        {"labels": []},
        {"labels": [{"id": 1}]},
        {"labels": 5},
        {"grid": {"modus": "native"}},
        {"grid": {"spacing_mm": -1}},
        {"grid": None},
    ],
    ids=str,
)
def test_a_damaged_index(folder, entries):
    change(folder, **entries)
    with pytest.raises(
        DatasetError, match=r"json: expected splits, labels and grid, got: .*; delete it and preprocess again"
    ):
        Preprocessed(folder)


def test_an_index_without_splits(folder):
    content = json.loads((folder / INDEX).read_text())
    del content["splits"]
    (folder / INDEX).write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"expected splits, labels and grid, got: KeyError\('splits'\)"):
        Preprocessed(folder)
