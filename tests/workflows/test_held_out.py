"""Cases of a run of folds are judged by the network that has not seen them."""

import json

import numpy as np
import pytest

from tests.training.tiny import LABELS, NATIVE, add_case, finish, make_dataset, make_scan
from tests.workflows.hu_models import make_model, make_run
from tomoseg.cli import main
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, DatasetError
from tomoseg.files.nifti import write_nifti
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_case
from tomoseg.inference.segment import open_predictor
from tomoseg.models.folder import load_model
from tomoseg.models.tuned import tuning_of
from tomoseg.options import Compute, EvaluateOptions
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.turn import turn
from tomoseg.volume import SourceGrid
from tomoseg.workflows import choosing
from tomoseg.workflows import tune as workflow
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.held_out import held_out
from tomoseg.workflows.tune import tune

CPU = Compute(engine="torch", device="cpu", precision="fp32")
SPLITS = {"a": "train", "b": "train", "v": "validation", "w": "validation", "t": "test"}
DEALT = {"a": 1, "b": 2, "v": 2, "w": 1}
OVERLAP = {"surfaces": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), splits=SPLITS).folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The first fold finds the ball and the cube, the second nothing at all."""
    return make_run(tmp_path_factory.mktemp("runs") / "run", DEALT, (0.0, 40.0))


def ball_dice(evaluation):
    return {case.case: case.structures[0].dice for case in evaluation.scores}


def test_each_case_is_scored_by_the_fold_that_has_not_seen_it(run, dataset):
    found = ball_dice(evaluate(run, dataset, EvaluateOptions(**OVERLAP), compute=CPU))
    first = Predictor(load_model(run / "fold-1"), CPU)
    cases = {case.name: case.in_split("validation") for case in Preprocessed(dataset).cases}
    expected = {name: score_case(first, cases[name]).structures[0].dice for name in ("a", "w")}
    assert min(expected.values()) > 0.8
    assert found == pytest.approx({**expected, "b": 0.0, "v": 0.0})


@pytest.mark.parametrize(
    ("split", "cases"),
    [
        ("auto", ["a", "b", "v", "w"]),
        ("out-of-fold", ["a", "b", "v", "w"]),
        ("train", ["a", "b"]),
        ("validation", ["v", "w"]),
    ],
)
def test_splits_of_a_run_of_folds(run, dataset, split, cases):
    found = held_out(run, dataset, split, CPU)
    assert [case.name for case in found.cases] == cases
    assert found.split == ("out-of-fold" if split == "auto" else split)
    for case in found.cases:
        assert found.judge(case).models[0].folder == run / f"fold-{DEALT[case.name]}" / "best"


@pytest.mark.parametrize(("split", "cases"), [("auto", ["y"]), ("validation", ["y"]), ("train", ["x"])])
def test_other_patients_are_scored_by_all_folds_together(run, tmp_path, split, cases):
    found = held_out(run, make_dataset(tmp_path, splits={"x": "train", "y": "validation"}).folder, split, CPU)
    assert [case.name for case in found.cases] == cases
    assert found.split == ("validation" if split == "auto" else split)
    assert all(found.judge(case) is found.model for case in found.cases)
    assert len(found.model.models) == 2


def test_an_axial_dataset_serves_a_model_of_any_view(dataset, tmp_path):
    """As the network of one view does of `train --views`, whose own order of the dataset is gone once it is trained."""
    turned = turn(Preprocessed(dataset), "coronal", tmp_path / "coronal").folder
    coronal = make_model(tmp_path / "c", grid=NATIVE.model_copy(update={"view": "coronal"}))
    on_axial, on_turned = (
        ball_dice(evaluate(coronal, data, EvaluateOptions(**OVERLAP), compute=CPU)) for data in (dataset, turned)
    )
    assert on_axial == pytest.approx(on_turned)
    assert min(on_axial.values()) > 0.8
    with pytest.raises(DatasetError, match=r"expected the model's grid, with view axial, got view coronal"):
        evaluate(make_model(tmp_path / "a"), turned, EvaluateOptions(**OVERLAP), compute=CPU)


def test_the_mean_of_the_folds_judges_the_test_split(run, dataset):
    found = held_out(run, dataset, "test", CPU)
    assert [case.name for case in found.cases] == ["t"]
    assert len(found.judge(found.cases[0]).models) == 2


def test_a_model_that_is_none_of_folds_has_its_validation_split(dataset, tmp_path):
    found = held_out(make_model(tmp_path / "model"), dataset, "auto", CPU)
    assert (found.split, [case.name for case in found.cases]) == ("validation", ["v", "w"])
    assert found.judge(found.cases[0]) is found.model
    with pytest.raises(ConfigError, match="expected a run of folds for split out-of-fold"):
        held_out(tmp_path / "model", dataset, "out-of-fold", CPU)
    with pytest.raises(ConfigError, match="expected a split of auto, train, validation, test, out-of-fold, got 'all'"):
        held_out(tmp_path / "model", dataset, "all", CPU)


def test_other_cases_than_those_that_were_dealt_are_refused(run, tmp_path):
    other = make_dataset(tmp_path / "data", splits={**SPLITS, "z": "train"}).folder
    with pytest.raises(DatasetError, match=r"expected the 4 cases that the folds of .* were drawn from, got others;"):
        held_out(run, other, "auto", CPU)


def test_what_is_scored_on_the_network_s_grid_is_said(tmp_path, capsys):
    grid = GridConfig(mode="spacing", spacing_mm=2.0, crop="none")
    for seed, (name, split) in enumerate(SPLITS.items()):
        hu, masks = make_scan(seed)
        add_case(tmp_path / "data", name, hu, masks, grid, native=split != "train")
    finish(tmp_path / "data", SPLITS, LABELS, grid)
    make_run(tmp_path / "run", DEALT, (0.0, 0.0))
    for fold in (1, 2):
        make_model(tmp_path / "run" / f"fold-{fold}" / "best", grid)
    out = tmp_path / "scores"
    flags = ("--no-surfaces", "--device", "cpu")
    assert main(["evaluate", str(tmp_path / "run"), str(tmp_path / "data"), "-o", str(out), *flags]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "Of 4 cases, 2 were for training, without masks on the scans' own voxels:" in told
    summary = json.loads((out / "summary.json").read_text())
    assert summary["how"]["split"] == "out-of-fold"
    assert summary["spacing_mm"]["a"] == pytest.approx([2, 2, 1], abs=0.1)
    assert summary["spacing_mm"]["v"] == [1, 1, 1]


def test_a_run_of_folds_is_tuned_on_all_its_patients_and_predicts_so(tmp_path, monkeypatch, capsys):
    """Both folds are sure of too little; every patient's network is the one that had not seen it."""
    monkeypatch.setattr(choosing, "STEPS", ())
    monkeypatch.setattr(workflow, "SMOOTHINGS", (0.0,))
    names = {name: "train" if name < "d" else "validation" for name in "abcdef"}
    data = tmp_path / "data"
    for seed, (name, split) in enumerate(names.items()):
        add_case(data, name, *make_scan(seed), native=split != "train")
    finish(data, names)
    run = make_run(tmp_path / "run", {name: 1 + (name in "ace") for name in names}, (0.0, 0.0))
    for fold in (1, 2):
        make_model(run / f"fold-{fold}" / "best", gain=4.0, doubt=1.0)
    tuned, choices = tune(run, data, compute=CPU)
    assert tuned.chosen_on["split"] == "out-of-fold"
    assert tuned.chosen_on["cases"] == 6
    assert tuned.thresholds["ball"] < 0.5
    ball = next(choice for choice in choices if choice.structure == "ball")
    assert ball.cases == 6
    assert ball.before < ball.on_others <= ball.after
    assert tuned == tuning_of(run).found
    assert tuning_of(run).is_current
    assert open_predictor(run).choices().decisions.thresholds == tuned.thresholds
    hu, _ = make_scan(9)
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    assert main(["predict", "-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out"), "-m", str(run)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the model is tuned on 6 cases (a threshold for " in told
    assert f"{tuned.gain:+.3f} Dice on patients it was not tuned on; --no-tuned turns this off" in told
    make_model(run / "fold-2" / "best", gain=5.0)  # other weights
    assert not tuning_of(run).is_current
