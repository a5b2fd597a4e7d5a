"""Evaluation as a command does it: what is scored, written, drawn and refused."""

import csv
import json

import pytest
import torch

from tests.training.tiny import LABELS, NATIVE, make_dataset
from tomoseg.config import Compute, GridConfig, NetworkConfig
from tomoseg.errors import ConfigError, DatasetError, ModelError
from tomoseg.evaluation.overlap import CaseScore, StructureScore
from tomoseg.evaluation.summary import summarise
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.workflows.evaluate import Evaluation, check_fits, evaluate, write_scores

CPU = Compute("torch", "cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preprocessed")
    make_dataset(folder, splits={"a": "train", "v": "validation", "t": "test", "u": "test"})
    return folder


def save(folder, labels=LABELS, grid=NATIVE):
    torch.manual_seed(0)
    record = ModelRecord(labels, NetworkConfig(channels=(8, 16)), grid, ((-200.0, 300.0),))
    save_model(Model(record, record.build()), folder)
    return folder


def test_scores_the_split_that_is_asked_for(dataset, tmp_path):
    model, told = save(tmp_path / "model"), []
    found = evaluate(model, dataset, "test", compute=CPU, on_case=lambda done, total: told.append((done, total)))
    assert [score.case for score in found.scores] == ["t", "u"]
    assert found.summary == summarise(found.scores, LABELS)
    assert found.summary.cases == 2
    assert told == [(1, 2), (2, 2)]
    assert [score.case for score in evaluate(model, dataset, compute=CPU).scores] == ["v"]


def test_what_does_not_fit_is_refused(dataset, tmp_path):
    with pytest.raises(DatasetError, match=r"expected the model's 2 structures, got 3 \(ball, cube, both, \.\.\.\)"):
        evaluate(save(tmp_path / "two", LABELS.subset(("ball", "cube"))), dataset)
    with pytest.raises(DatasetError, match=r"expected the model's grid \(.*'spacing'.*\), got .*'native'"):
        evaluate(save(tmp_path / "grid", grid=GridConfig()), dataset)
    with pytest.raises(DatasetError, match="expected cases in split 'nothing'"):
        evaluate(save(tmp_path / "model"), dataset, "nothing")
    with pytest.raises(ModelError, match="expected a model folder"):
        evaluate(tmp_path / "none", dataset)


def test_the_order_of_structures_matters(dataset):
    from tomoseg.preprocessed.read import Preprocessed

    with pytest.raises(DatasetError, match="expected the model's 3 structures"):
        check_fits(("cube", "ball", "both"), NATIVE, Preprocessed(dataset))


def test_tables_by_hand(tmp_path):
    labels = LabelSet.from_names(["one", "two"])
    scores = [
        CaseScore("a", (StructureScore("one", 0.5, 1 / 3, 8.0, 8.0), StructureScore("two", None, None, 0.0, 1.5))),
        CaseScore("b", (StructureScore("one", 1.0, 1.0, 2.0, 2.0),)),
    ]
    write_scores(Evaluation(summarise(scores, labels), scores), tmp_path / "out")
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["case", "structure", "dice", "iou", "reference_ml", "predicted_ml", "false_positive_ml"],
        ["a", "one", "0.5", "0.333333", "8", "8", ""],
        ["a", "two", "", "", "0", "1.5", "1.5"],
        ["b", "one", "1", "1", "2", "2", ""],
    ]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["dice"], summary["cases"]) == (0.75, 2)
    assert summary["structures"][1] == {
        "structure": "two",
        "n": 0,
        "dice": None,
        "iou": None,
        "absent": 1,
        "false_positive_ml": 1.5,
    }


def test_panels_of_the_worst_and_the_best(dataset, tmp_path):
    model = save(tmp_path / "model")
    found = evaluate(model, dataset, "test", output=tmp_path / "out", panels=1, compute=CPU)
    scored = sorted((s.dice, s.structure) for s in found.scores[0].structures)
    wanted = {f"t_{scored[0][1]}.png", f"t_{scored[-1][1]}.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted | {"scores.csv", "summary.json"}


def test_panels_need_a_folder(dataset, tmp_path):
    with pytest.raises(ConfigError, match="expected a folder for the pictures of 2 cases, got none; name one"):
        evaluate(save(tmp_path / "model"), dataset, panels=2)
