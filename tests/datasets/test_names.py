"""Names of cases and structures: Unicode forms, capitals, bytes that are no UTF-8, lengths."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.datasets.layouts import find_dataset
from tomoseg.datasets.mask_cases import find_mask_cases
from tomoseg.datasets.splits import assign_splits
from tomoseg.errors import DatasetError, LabelError
from tomoseg.evaluation.score_files import read_scores
from tomoseg.files.nifti import write_nifti
from tomoseg.options import EvaluateOptions
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import SourceGrid
from tomoseg.workflows.check import check
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.preprocess import preprocess

GRID = SourceGrid((6, 5, 4), np.diag([2.0, 2.0, 3.0, 1.0]))
ONE, TWO = "vert\u00e8bre", unicodedata.normalize("NFD", "vert\u00e8bre")
NO_UTF8 = os.fsdecode(b"caf\xe9")


def write_case(folder, *structures):
    write_nifti(folder / "ct.nii.gz", np.full(GRID.shape, 40, np.int16), GRID)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[1:4, 1:4, 1:3] = 1
    for structure in structures:
        write_nifti(folder / "segmentations" / f"{structure}.nii.gz", mask, GRID)


def test_two_unicode_forms_are_one_structure(tmp_path):
    write_case(tmp_path / "a", ONE)
    write_case(tmp_path / "b", TWO)
    found = find_dataset(tmp_path)
    assert (ONE != TWO, found.labels.names) == (True, (ONE,))
    assert [case.annotated for case in found.cases] == [(ONE,), (ONE,)]
    assert found.labels.subset([TWO]).names == (ONE,)


def test_both_forms_in_one_case_are_told(tmp_path):
    write_case(tmp_path / "a", ONE, TWO)
    with pytest.raises(LabelError, match=r"segmentations: expected one mask per structure, got two files for vert.bre"):
        find_dataset(tmp_path)


def test_names_in_json_are_composed(tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", np.zeros(GRID.shape, np.int16), GRID)
    write_nifti(tmp_path / "labels.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    (tmp_path / "labels.json").write_text(json.dumps({"1": TWO}))
    assert find_dataset(tmp_path).labels.names == (ONE,)


def test_names_that_differ_in_capitals_alone_are_refused(tmp_path):
    write_case(tmp_path / "a", "Liver")
    write_case(tmp_path / "b", "liver")
    with pytest.raises(
        LabelError, match="expected names that differ in more than capital letters, got Liver and liver"
    ):
        find_dataset(tmp_path)
    for name, structure in (("ours", "Liver"), ("theirs", "liver")):
        write_case(tmp_path / name / "a", structure)
    with pytest.raises(LabelError, match="got Liver and liver; use one name per structure"):
        evaluate(tmp_path / "ours", tmp_path / "theirs")


@pytest.mark.parametrize("find", [find_dataset, find_mask_cases])
def test_cases_whose_folders_would_be_one_on_other_disks_are_refused(tmp_path, find):
    for name in ("Anna", "anna"):
        write_case(tmp_path / name, "liver")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this disk does not tell capitals apart")
    with pytest.raises(DatasetError, match=r"case names that differ in more than .*, got Anna at .* and anna at"):
        find(tmp_path)


def test_cases_of_two_unicode_forms_belong_together(tmp_path):
    for side, name in (("ours", ONE), ("theirs", TWO)):
        write_case(tmp_path / side / name, "liver")
        write_case(tmp_path / side / "other", "liver")
    found = evaluate(tmp_path / "ours", tmp_path / "theirs")
    assert (found.failed, found.summary.dice, found.summary.cases) == ({}, 1.0, 2)


def test_a_name_too_long_for_files_is_refused(tmp_path):
    write_nifti(tmp_path / "a_labels.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    write_nifti(tmp_path / "a.nii.gz", np.zeros(GRID.shape, np.int16), GRID)
    (tmp_path / "labels.json").write_text(json.dumps({"1": "\u00e9" * 101}))
    with pytest.raises(LabelError, match="expected names of up to 200 bytes"):
        find_dataset(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps({"1": "\u00e9" * 100}))
    assert len(find_dataset(tmp_path).labels) == 1


@pytest.fixture
def odd(tmp_path):
    root = tmp_path / "odd"
    try:
        write_case(root / NO_UTF8, "liver")
    except OSError:
        pytest.skip("this disk takes no such names")
    write_case(root / "b", "liver")
    write_case(root / "c", "liver")
    return root


class TestNamesThatAreNoUtf8:
    """Nothing is lost for the sake of a name: it is written as an escape."""

    def test_preprocess(self, odd, tmp_path):
        report = preprocess(odd, tmp_path / "out", PreprocessConfig(grid=GridConfig(mode="native"), workers=1))
        assert (report.failed, [record.name for record in report.records]) == ({}, ["b", "c", NO_UTF8])
        assert {case.name for case in Preprocessed(tmp_path / "out").cases} == {"b", "c", NO_UTF8}
        assert set(assign_splits(find_dataset(odd).cases, 0.3, 0.3, 0)) == {"b", "c", NO_UTF8}

    def test_evaluate(self, odd, tmp_path):
        found = evaluate(odd, odd, EvaluateOptions(), output=tmp_path / "scores")
        assert (found.failed, found.summary.cases) == ({}, 3)
        assert r"caf\udce9" in (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
        assert r"caf\udce9" in {one.case for one in read_scores(tmp_path / "scores")}

    def test_check(self, odd, tmp_path):
        check(odd, tmp_path / "seen")
        assert r"caf\udce9" in (tmp_path / "seen" / "check.json").read_text(encoding="utf-8")

    def test_structure(self, tmp_path):
        write_case(tmp_path / "a", NO_UTF8)
        with pytest.raises(LabelError, match=r"expected names that can be file names, got 'caf\\udce9'; rename"):
            find_dataset(Path(tmp_path))
