"""A model's masks as a dataset: what is believed, what is unknown, what is left out, by ratings written by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.datasets.layouts import find_dataset
from tomoseg.datasets.mask_cases import find_mask_cases
from tomoseg.datasets.predictions import only_trusted
from tomoseg.errors import DatasetError
from tomoseg.files.nifti import write_nifti
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import SourceGrid
from tomoseg.workflows.correct import save_correction
from tomoseg.workflows.preprocess import NOT_SURE, preprocess

SHAPE = (8, 8, 6)
GRID = SourceGrid(SHAPE, np.diag([4.0, 4.0, 4.0, 1.0]))
RATINGS = {
    "a": {"liver": 0.9, "spleen": 0.2},
    "b": {"liver": 0.7, "spleen": None},
    "c": {"liver": 0.8, "spleen": 0.6},
    "d": {"liver": None, "spleen": None},
}
"""In `b` no spleen was found, of `d` nothing: it is unlike the training scans."""


def record(scan, ratings):
    return {
        "model_sha256": "0",
        "input": {"path": str(scan)},
        "files": [],
        **({} if ratings is None else {"self_rating": {"structures": ratings}}),
    }


@pytest.fixture
def predicted(tmp_path):
    """Four scans in one folder, and what was predicted of them in another."""
    folder = tmp_path / "predicted"
    for name, ratings in RATINGS.items():
        scan = tmp_path / "scans" / f"{name}.nii.gz"
        hu = np.full(SHAPE, -1000, np.int16)
        hu[1:7, 1:7] = 40
        write_nifti(scan, hu, GRID)
        for structure in ratings:
            mask = np.zeros(SHAPE, np.uint8)
            mask[2:5, 2:5, 1:4] = ratings[structure] is not None
            write_nifti(folder / name / f"{structure}.nii.gz", mask, GRID)
        (folder / name / "prediction.json").write_text(json.dumps(record(scan, ratings)), encoding="utf-8")
    return folder


def trusted(folder, share):
    cases, told = only_trusted(find_dataset(folder).cases, share)
    return {case.name: case.annotated for case in cases}, told


def test_the_scans_stay_where_they_are_and_each_mask_has_the_model_s_rating(predicted):
    found = find_dataset(predicted)
    assert (found.layout, found.warnings) == ("predictions", ())
    assert [case.name for case in found.cases] == ["a", "b", "c", "d"]
    assert {case.name: case.ratings for case in found.cases} == RATINGS
    assert found.cases[0].ct == predicted.parent / "scans" / "a.nii.gz"
    assert found.labels.names == ("spleen", "liver")


def test_of_each_structure_the_surest_share_of_the_scans_that_it_was_found_in_is_believed(predicted):
    # three livers of 0.9, 0.8, 0.7 and two spleens of 0.6, 0.2; shares are rounded up to whole scans
    everything = {"a": ("liver", "spleen"), "b": ("liver",), "c": ("liver", "spleen")}
    assert trusted(predicted, 1.0)[0] == everything
    found, told = trusted(predicted, 0.5)
    assert found == {"a": ("liver",), "c": ("liver", "spleen")}
    assert told == ["Of 8 masks, 5 count as unknown: the model is not sure of them, or found nothing."]
    assert trusted(predicted, 0.01)[0] == {"a": ("liver",), "c": ("spleen",)}


def test_masks_of_people_are_all_believed(predicted):
    cases = [replace(case, ratings=None) for case in find_dataset(predicted).cases]
    assert only_trusted(cases, 0.1) == (cases, [])


def test_a_label_map_with_its_record_is_a_case_too(predicted):
    values = np.zeros(SHAPE, np.uint8)
    values[2, 2, 2] = 5
    write_nifti(predicted / "e.nii.gz", values, GRID)
    (predicted / "e.labels.json").write_text('{"1": "spleen", "5": "liver"}', encoding="utf-8")
    content = record(predicted.parent / "scans" / "a.nii.gz", {"liver": 0.95, "spleen": None})
    (predicted / "e.prediction.json").write_text(json.dumps(content), encoding="utf-8")
    (case,) = (case for case in find_dataset(predicted).cases if case.name == "e")
    assert case.label_values == {"spleen": (1,), "liver": (5,)}
    assert trusted(predicted, 1.0)[0]["e"] == ("liver",)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: (folder.parent / "scans" / "a.nii.gz").unlink(), "expected the scan at the path that it was"),
        (lambda folder: [path.unlink() for path in (folder / "a").glob("*.nii.gz")], "expected masks as .nii.gz"),
        (
            lambda folder: (folder / "a" / "prediction.json").write_text(
                json.dumps(record(folder.parent / "scans" / "a.nii.gz", None)), encoding="utf-8"
            ),
            "expected the model's rating of each mask, got none; predict with --triage",
        ),
        (lambda folder: (folder / "a" / "prediction.json").write_text("[1]", encoding="utf-8"), "expected the record"),
        (lambda folder: (folder / "a" / "prediction.json").write_text("{", encoding="utf-8"), "expected the record"),
    ],
)
def test_what_cannot_be_used_is_left_out_with_the_reason(predicted, damage, why):
    damage(predicted)
    found = find_dataset(predicted)
    assert [case.name for case in found.cases] == ["b", "c", "d"]
    (left,) = found.left_out
    assert why in str(left)
    assert "a" in left.path.parts


def test_none_with_a_rating_is_refused_and_masks_are_compared_as_before(predicted):
    for path in predicted.glob("*/prediction.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["self_rating"]
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"got none; the first of 4 left out: .*predict with --triage"):
        find_dataset(predicted)
    assert [case.name for case in find_mask_cases(predicted)] == ["a", "b", "c", "d"]


def test_masks_to_be_compared_are_those_of_the_folder_whatever_their_ratings(predicted):
    cases = find_mask_cases(predicted)
    assert [(case.name, case.annotated, case.ct) for case in cases] == [
        (name, ("liver", "spleen"), None) for name in "abcd"
    ]


def test_what_is_not_believed_is_unknown_in_the_preprocessed_dataset(predicted, tmp_path):
    grid = GridConfig(mode="native", crop="none")
    config = PreprocessConfig(grid=grid, trusted_share=0.5, validation_share=0, workers=1)
    report = preprocess(predicted, tmp_path / "out", config)
    annotated = {record.name: record.annotated for record in report.records}
    assert annotated == {"a": (1,), "c": (0, 1)}
    assert report.failed == {"b": NOT_SURE, "d": NOT_SURE}
    assert any("Of 8 masks, 5 count as unknown" in str(line) for line in report.warnings)
    assert [case.name for case in Preprocessed(tmp_path / "out").cases] == ["a", "c"]
    again = preprocess(predicted, tmp_path / "out2", config.model_copy(update={"trusted_share": 1.0}))
    assert {record.name: record.annotated for record in again.records} == {"a": (0, 1), "b": (1,), "c": (0, 1)}


def test_where_nothing_is_believed_it_says_so(predicted, tmp_path):
    for name in "abc":
        path = predicted / name / "prediction.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["self_rating"]["structures"] = {"liver": None, "spleen": None}
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match="expected masks that the model is sure of, got none"):
        preprocess(predicted, tmp_path / "out", PreprocessConfig(workers=1))


def test_what_a_person_corrected_is_believed_most_of_all_where_the_model_was_unsure(predicted, tmp_path):
    liver = find_dataset(predicted).labels["liver"]
    for name in "db":  # of `d` nothing is believed, of `b` only a liver that is rated low
        save_correction(predicted / "corrections" / name, liver, np.ones(SHAPE, bool), GRID, "me")
    config = PreprocessConfig(
        grid=GridConfig(mode="native", crop="none"), trusted_share=0.5, validation_share=0, workers=1
    )
    report = preprocess(predicted, tmp_path / "out", config, corrections=predicted / "corrections")
    # Livers of 0.9 and 0.8 are the model's: half of two is one. The corrected ones have no part in the ranking.
    assert {record.name: record.annotated for record in report.records} == {"a": (1,), "b": (1,), "c": (0,), "d": (1,)}
    assert (report.failed, report.left_out) == ({}, ())
    assert [case.name for case in find_mask_cases(predicted)] == ["a", "b", "c", "d"]
    assert any("Of 6 masks, 4 count as unknown" in str(line) for line in report.warnings)
