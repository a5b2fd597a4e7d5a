"""`train --folds`: a run folder with a part for each fold, which together are one model."""

import json
import shutil

import numpy as np
import pytest
import torch

from tests.training.tiny import make_config, make_dataset, make_scan
from tomoseg.cli import main
from tomoseg.config import OptimizerConfig, SamplingConfig, TrainConfig
from tomoseg.errors import ConfigError, DatasetError, ModelError, TrainingError
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.models.folder import load_model, sha256
from tomoseg.models.folds import read_folds
from tomoseg.models.views import load_views
from tomoseg.options import Compute, EvaluateOptions
from tomoseg.settings import load_config
from tomoseg.training.listener import Listener
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows import course
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.models import described
from tomoseg.workflows.predict import predict
from tomoseg.workflows.train import train_run

SPLITS = {"a": "train", "b": "train", "c": "train", "v": "validation", "t": "test"}
TORCH = Compute(engine="torch", precision="fp32", device="cpu")
FOLDS = {
    "folds": 2,
    "epochs": 2,
    "sampling": SamplingConfig(slices_per_case=8),
    "optimizer": OptimizerConfig(kind="adamw", learning_rate=3e-2),
}
"""Eight steps a fold, of two epochs."""


@pytest.fixture(autouse=True, scope="module")
def quick():
    """One thread, since the arrays are small, and no curves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "draw_history", lambda history, path, lang: None)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), splits=SPLITS).folder


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """A whole run of two folds, and its outcome."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, train_run(dataset, folder, make_config(**FOLDS))


def contents(run):
    """What a run has learned and predicted, as digests."""
    files = [*run.glob("fold-*/best/*"), *run.glob("out-of-fold/*/*"), *run.glob("*.json")]
    return {str(path.relative_to(run)): sha256(path) for path in files if path.name != "model.json"}


def test_each_case_is_held_out_of_one_fold_and_predicted_by_it(run):
    folder, outcome = run
    assert outcome.finished
    assert len(outcome.folds) == 2
    assert min(outcome.folds) > 0.05  # something is found, so that masks can differ
    assert outcome.best_dice == pytest.approx(np.mean(outcome.folds))
    cases = read_folds(folder).cases
    assert sorted(cases) == ["a", "b", "c", "v"]
    made = json.loads((folder / "out-of-fold.json").read_text())
    assert made == {name: load_model(folder / f"fold-{fold}").sha256 for name, fold in cases.items()}
    for name, fold in cases.items():
        hu, _ = make_scan(list(SPLITS).index(name))
        volume = Volume.from_array(np.asfortranarray(hu), np.eye(4))
        expected = segment(volume, load_model(folder / f"fold-{fold}"), compute=TORCH)
        for structure in ("ball", "cube", "both"):
            kept = read_label_map(folder / "out-of-fold" / name / f"{structure}.nii.gz")
            assert np.array_equal(kept, expected.mask(structure)), (name, structure)


def test_the_run_is_the_mean_of_its_folds(run, tmp_path):
    folder, _ = run
    hu, _ = make_scan(9)
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    models, fusion = load_views(folder)
    assert (len(models), fusion.shares, fusion.name) == (2, (), "run")
    for name, model in (("one", folder), ("parts", [folder / "fold-1", folder / "fold-2"])):
        (done,) = predict(tmp_path / "ct.nii.gz", tmp_path / name, model, compute=TORCH)
        assert done.error is None
    for structure in ("ball", "cube", "both"):
        both = [read_label_map(tmp_path / name / f"{structure}.nii.gz") for name in ("one", "parts")]
        assert np.array_equal(*both)


def test_what_it_knows_is_what_any_fold_was_trained_on(run):
    folder, outcome = run
    parts = [load_model(folder / f"fold-{fold}").record.trained_on.tissue_hu for fold in (1, 2)]
    expected = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(*parts, strict=True))
    assert open_predictor(folder).record.trained_on.tissue_hu == expected
    known = described(folder)
    assert known.record.trained_on.tissue_hu == expected
    assert known.record.scores["validation_dice"] == pytest.approx(outcome.best_dice)


@pytest.mark.parametrize("after", [1, 8, 9, 10, 13, 18, 19])
def test_stopped_anywhere_the_same_call_goes_on_to_the_same_run(dataset, run, tmp_path, after):
    left = iter([False] * (after - 1) + [True] * 1000)
    config = make_config(**FOLDS)
    first = train_run(dataset, tmp_path / "parts", config, Listener(should_stop=lambda: next(left)))
    assert not first.finished
    assert train_run(dataset, tmp_path / "parts", config).finished
    assert contents(tmp_path / "parts") == contents(run[0])


def test_a_finished_run_is_left_alone(dataset, run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    before = contents(tmp_path / "run")
    stages = []
    listener = Listener(on_step=lambda step: pytest.fail("a step"), on_stage=stages.append)
    again = train_run(dataset, tmp_path / "run", make_config(**FOLDS), listener)
    assert again.folds == run[1].folds
    assert contents(tmp_path / "run") == before
    assert not [stage for stage in stages if "out-of-fold" in stage]


def test_masks_that_are_missing_are_made_again(dataset, run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "out-of-fold" / "b")
    (tmp_path / "run" / "out-of-fold.json").write_text("no JSON")
    train_run(dataset, tmp_path / "run", make_config(**FOLDS))
    assert contents(tmp_path / "run") == contents(run[0])


def test_another_number_of_folds_is_refused(dataset, run, tmp_path):
    folder, _ = run
    with pytest.raises(TrainingError, match=r"expected --folds 2, which .* was started with, got 3;"):
        train_run(dataset, folder, make_config(**FOLDS | {"folds": 3}))
    with pytest.raises(TrainingError, match=r"expected --folds 2, .* got none;"):
        train_run(dataset, folder, make_config(epochs=1))
    train_run(dataset, tmp_path / "plain", make_config(epochs=1))
    with pytest.raises(TrainingError, match="got a run of one network on the dataset's own splits"):
        train_run(dataset, tmp_path / "plain", make_config(**FOLDS))


def test_other_patients_are_refused(run, tmp_path):
    other = make_dataset(tmp_path / "data", splits={**SPLITS, "z": "train"}).folder
    with pytest.raises(TrainingError, match="expected the patients and the seed that the folds of this run were drawn"):
        train_run(other, run[0], make_config(**FOLDS))


def test_other_settings_are_refused(dataset, run):
    with pytest.raises(TrainingError, match="batch_size was 4 and is 2"):
        train_run(dataset, run[0], make_config(**FOLDS, batch_size=2))
    assert load_config(TrainConfig(), run[0] / "config.yaml") == make_config(**FOLDS)


def test_too_few_patients_and_too_few_folds_are_refused_before_anything_is_written(dataset, tmp_path, capsys):
    with pytest.raises(DatasetError, match="expected 5 patients or more for 5 folds, got 4"):
        train_run(dataset, tmp_path / "run", make_config(**FOLDS | {"folds": 5}))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"folds: .*greater than or equal to 2"):
        make_config(folds=1)
    assert main(["train", str(dataset), "-o", str(tmp_path / "run"), "--folds", "1"]) == 2
    assert "folds" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_stopped_is_no_model_yet(dataset, tmp_path):
    train_run(dataset, tmp_path / "run", make_config(**FOLDS), Listener(should_stop=lambda: True))
    with pytest.raises(ModelError, match="expected a run whose folds are all trained, got one that was stopped"):
        open_predictor(tmp_path / "run")


def test_a_record_that_is_none_is_refused(dataset, run, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    for text in ("[]", '{"count": 2, "cases": {"a": 3}}', '{"count": 1, "cases": {}}'):
        (tmp_path / "run" / "folds.json").write_text(text)
        with pytest.raises(ModelError, match=r"folds\.json: expected"):
            train_run(dataset, tmp_path / "run", make_config(**FOLDS))


def test_a_person_sees_the_folds(dataset, run, tmp_path, capsys):
    shutil.copytree(run[0], tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    assert main(["train", str(dataset), "-o", str(tmp_path / "run"), "--config", str(config)]) == 0
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if line.startswith("Fold")] == ["Fold 1 of 2", "Fold 2 of 2"]
    each = ", ".join(f"{dice:.4f}" for dice in run[1].folds)
    assert f"Trained 2 folds: {each}; mean validation Dice {run[1].best_dice:.4f}." in " ".join(told.split())
    assert main(["export", str(tmp_path / "run"), "--to", "openvino"]) == 0
    assert sorted(path.parent.name for path in (tmp_path / "run").glob("*/best/openvino")) == ["best", "best"]


def test_the_kept_masks_score_as_the_folds_do(dataset, run, tmp_path):
    folder, _ = run
    for seed, name in enumerate(SPLITS):
        hu, masks = make_scan(seed)
        for structure, mask in zip(("ball", "cube", "both"), masks, strict=True):
            if (name, structure) != ("b", "both"):  # not annotated in the dataset either
                path = tmp_path / name / f"{structure}.nii.gz"
                write_nifti(path, mask.astype(np.uint8), SourceGrid(hu.shape, np.eye(4)))
    shutil.rmtree(tmp_path / "t")
    options = EvaluateOptions(surfaces=False)
    kept = evaluate(folder / "out-of-fold", tmp_path, options)
    folds = evaluate(folder, dataset, options, compute=TORCH)
    assert kept.failed == {}
    told = [
        {(case.case, one.structure): one.dice for case in found.scores for one in case.structures}
        for found in (kept, folds)
    ]
    assert told[0] == pytest.approx(told[1])
    assert len(told[0]) == 11
