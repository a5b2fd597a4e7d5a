import json
import shutil

import pytest

from tests.example_files import GRID, write_example_files
from tomoseg.errors import DatasetError, InputError
from tomoseg.files.nifti import read_mask, write_nifti
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.view import find_views, open_scene


@pytest.fixture
def files(tmp_path):
    write_example_files(tmp_path)
    return tmp_path


def _predicted(files):
    """Predictions of two scans: of the first as they should be, of the second without most of the liver."""
    out = files / "out"
    scans = []
    for name in ("good", "bad"):
        shutil.copytree(files / "masks", out / name)
        shutil.copy(files / "ct.nii.gz", files / f"{name}.nii.gz")
        scans.append({"name": name, "input": str(files / f"{name}.nii.gz"), "output": str(out / name), "state": "done"})
        (out / name / "prediction.json").write_text(json.dumps({"input": {"path": scans[-1]["input"]}, "warnings": []}))
    liver = read_mask(out / "bad" / "liver.nii.gz")
    liver[:, :20] = False
    write_nifti(out / "bad" / "liver.nii.gz", liver.view("u1"), GRID)
    scans.append({"name": "lost", "input": "gone.nii.gz", "output": "gone", "state": "failed", "error": "it was cut"})
    (out / "predictions.json").write_text(json.dumps({"scans": scans}))
    (out / "triage.csv").write_text("rank,scan,self_rating\n1,bad,0.4000\n2,good,0.9000\n")
    return out


def test_a_folder_of_predictions_in_the_order_of_its_triage(files):
    out = _predicted(files)
    views = find_views(out)
    assert [(case.name, case.score) for case in views.cases] == [("bad", 0.4), ("good", 0.9)]
    assert (views.measure, views.beside) == ("self-rating", out / "corrections")
    assert views.left_out == ("lost: it was not segmented: it was cut",)
    assert {entry.structure.name for entry in open_scene(views.cases[0]).entries} == {"liver", "spleen"}
    (out / "triage.csv").unlink()
    views = find_views(out)
    assert [case.score for case in views.cases] == [None, None]
    assert views.measure == ""


def test_a_scan_that_is_not_there_any_more_is_left_out(files):
    out = _predicted(files)
    (files / "good.nii.gz").unlink()
    views = find_views(out)
    assert [case.name for case in views.cases] == ["bad"]
    assert "good: its scan is not at" in views.left_out[0]


def test_an_evaluation_the_worst_case_first(files):
    out = _predicted(files)
    for name in ("good", "bad"):
        shutil.copytree(files / "masks", files / "reference" / name)
    evaluate(out, files / "reference", output=files / "scores")
    views = find_views(files / "scores")
    assert [case.name for case in views.cases] == ["bad", "good"]
    assert views.cases[0].score < views.cases[1].score == 1
    assert views.measure == "Dice"
    scene = open_scene(views.cases[0])
    dice = {entry.structure.name: entry.dice for entry in scene.entries}
    assert dice["spleen"] == 1
    assert dice["liver"] == pytest.approx(2 * views.cases[0].score - 1)
    shutil.rmtree(files / "reference")
    with pytest.raises(InputError, match=r"expected masks at .*reference, where they were"):
        find_views(files / "scores")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("predictions.json", "[]", "expected a record of each scan"),
        ("triage.csv", "rank\n1\n", "expected a triage table"),
    ],
)
def test_records_that_are_none(files, name, text, words):
    out = _predicted(files)
    (out / name).write_text(text)
    with pytest.raises(InputError, match=words):
        find_views(out)


def test_predictions_of_nothing(files):
    out = files / "out"
    out.mkdir()
    scans = [{"name": "lost", "input": "", "output": "", "state": "failed", "error": "it was cut"}]
    (out / "predictions.json").write_text(json.dumps({"scans": scans}))
    with pytest.raises(DatasetError, match="expected a case with its scan and its masks, got none; lost: it was not"):
        find_views(out)
