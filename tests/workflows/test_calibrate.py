"""Temperatures of a model: found, kept, used for probabilities and the expected Dice, and for no mask."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from tests.training.tiny import add_case, finish, make_config, make_dataset, make_scan
from tests.workflows.hu_models import make_model, make_run
from tomoseg.cli import main
from tomoseg.config import OptimizerConfig, SamplingConfig
from tomoseg.errors import ModelError
from tomoseg.evaluation.temperatures import LEAST, MOST, LogitCounts
from tomoseg.files.nifti import write_nifti
from tomoseg.grid import Placement
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.masks import unpack
from tomoseg.models.calibrated import CALIBRATED, Calibration, load_calibration, save_calibration
from tomoseg.models.folder import load_model
from tomoseg.options import Compute, PredictOptions, Request
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.listener import Listener
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows import course
from tomoseg.workflows.calibrate import CountedCase, calibrate
from tomoseg.workflows.predict import predict
from tomoseg.workflows.train import train_run
from tomoseg.workflows.triage import ranked

CPU = Compute(engine="torch", device="cpu", precision="fp32")
FIVE = {"t": "train"} | dict.fromkeys("vwxyz", "validation")
STRUCTURES = ("ball", "cube", "both")
WARM = dict.fromkeys(STRUCTURES, (5.0, 3.0))
UNSURE = 4.0
"""A gain of logits at which no probability is 0 or 1."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), splits=FIVE).folder


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model", gain=UNSURE)


def warmed(model):
    """The model with temperatures of which nothing can be told by chance."""
    save_calibration(Calibration(str(load_model(model).sha256), WARM), model)
    return model


def write_scan(folder):
    hu, _ = make_scan(9)
    write_nifti(folder / "ct.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    return folder / "ct.nii.gz"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": ("0.4",)},
        {"smoothing": 0.5},
        {"postprocess": ("crf",)},
        {"postprocess": ("crf",), "confidence": True},
        {"ml": True, "triage": True},
    ],
    ids=["masks", "threshold", "smoothing", "field", "field and probabilities", "label map"],
)
def test_no_mask_changes(model, options):
    hu, _ = make_scan(9)
    noisy = hu + np.random.default_rng(0).normal(0, 60, hu.shape).astype(np.int16)
    volume = Volume.from_array(np.asfortranarray(noisy), np.eye(4))
    before = segment(volume, model, Request(**options), compute=CPU)
    after = segment(volume, warmed(model), Request(**options), compute=CPU)
    for name in STRUCTURES:
        assert np.array_equal(before.mask(name), after.mask(name))
    assert before.mask("cube").any()


def test_probabilities_are_at_the_temperatures_of_their_side(model):
    hu, _ = make_scan(9)
    volume = Volume.from_array(np.asfortranarray(hu), np.eye(4))
    asked = Request(confidence=True, threshold=("ball=0.3",))
    before = segment(volume, model, asked, compute=CPU).confidence
    off = segment(volume, warmed(model), Request(**{**dict(asked), "calibrated": False}), compute=CPU).confidence
    after = segment(volume, model, asked, compute=CPU).confidence
    for name in STRUCTURES:
        plain = before.map(name)
        assert np.array_equal(off.map(name), plain)
        p = np.clip(plain / 255, 0.5 / 255, 1 - 0.5 / 255)
        logit = np.log(p / (1 - p))
        expected = 1 / (1 + np.exp(-np.where(logit > 0, logit / 5, logit / 3)))
        sure = (plain > 8) & (plain < 247)  # where a byte says enough of the logit
        np.testing.assert_allclose(after.map(name)[sure] / 255, expected[sure], atol=0.015)
        assert np.array_equal(after.map(name) > 127.5, plain > 127.5)


def test_of_a_label_map_the_probability_is_that_of_its_structure(model):
    hu, _ = make_scan(9)
    volume = Volume.from_array(np.asfortranarray(hu), np.eye(4))
    save_calibration(Calibration(str(load_model(model).sha256), {**WARM, "cube": (1.0, 1.0)}), model)
    found = segment(volume, model, Request(ml=True, confidence=True), compute=CPU)
    each = segment(volume, model, Request(confidence=True), compute=CPU).confidence
    map_ = found.confidence.map("confidence")
    inside = found.mask("cube")
    assert inside.any()
    assert np.array_equal(map_[inside], each.map("cube")[inside])


def test_temperatures_are_found_on_validation_and_match_its_voxels(model, dataset):
    found = calibrate(model, dataset, CPU)
    assert found == load_calibration(model, load_model(model).sha256)
    assert found.fitted_on == {"dataset": dataset.name, "split": "validation", "cases": 5, "together": {}}
    assert set(found.temperatures) == set(STRUCTURES)
    assert all(LEAST <= value <= MOST for pair in found.temperatures.values() for value in pair)
    assert calibrate(model, dataset, CPU, lambda: pytest.fail("it began again")) == found


def test_a_structure_that_too_few_patients_show_has_the_temperatures_of_all_together(tmp_path):
    for seed, (name, split) in enumerate(FIVE.items()):
        annotated = (0, 1, 2) if name == "v" else (0, 2)
        add_case(tmp_path / "data", name, *make_scan(seed), annotated=annotated, native=split != "train")
    data = finish(tmp_path / "data", FIVE).folder
    found = calibrate(make_model(tmp_path / "model", gain=UNSURE), data, CPU)
    assert found.fitted_on["together"] == {"cube": 1}
    assert len({found.temperatures[name] for name in STRUCTURES}) == 3


def test_too_few_patients_and_a_wish_to_stop_find_nothing(model, dataset, tmp_path):
    four = make_dataset(tmp_path / "data", splits={"t": "train"} | dict.fromkeys("vwxy", "validation")).folder
    assert calibrate(model, four, CPU) is None
    assert calibrate(model, dataset, CPU, lambda: True) is None
    assert not (model / CALIBRATED).exists()


def test_the_expected_dice_is_told_as_such(model, tmp_path, capsys):
    scan = write_scan(tmp_path)
    run = partial(predict, scan, options=PredictOptions(triage=True), compute=CPU)
    (before,) = run(tmp_path / "out", model)
    assert before.record["self_rating"]["calibrated"] is False
    assert "temperatures" not in before.record
    warmed(model)
    assert main(["predict", "-i", str(scan), "-o", str(tmp_path / "out"), "-m", str(model), "--triage"]) == 0
    assert "expected Dice 0." in capsys.readouterr().out
    (after,) = run(tmp_path / "out", model)
    assert after.record["self_rating"]["calibrated"] is True
    assert after.record["temperatures"]["ball"] == (5.0, 3.0)
    assert after.record["self_rating"]["mean"] < before.record["self_rating"]["mean"]
    assert ranked([after])[0].calibrated
    (plain,) = predict(scan, tmp_path / "plain", model, compute=CPU)
    assert "temperatures" not in plain.record  # nothing that was asked for depends on them


def test_the_expected_dice_is_that_of_the_probabilities(model):
    hu, _ = make_scan(9)
    volume = Volume.from_array(np.asfortranarray(hu), np.eye(4))
    found = segment(volume, warmed(model), Request(confidence=True, triage=True), compute=CPU)
    for name in ("ball", "cube"):
        p, mask = found.confidence.map(name) / 255, found.mask(name)
        expected = 2 * p[mask].sum() / (mask.sum() + p.sum())
        assert found.self_rating.structures[name] == pytest.approx(expected, abs=0.01)


def test_several_models_are_rated_as_before_and_a_run_of_folds_by_its_temperatures(tmp_path):
    run = make_run(tmp_path / "run", {"a": 1, "b": 2}, (0.0, 0.5))
    hu, _ = make_scan(9)
    volume = Volume.from_array(np.asfortranarray(hu), np.eye(4))
    parts = [load_model(warmed(run / f"fold-{fold}" / "best")) for fold in (1, 2)]
    assert not segment(volume, parts, Request(triage=True), compute=CPU).self_rating.calibrated
    assert not segment(volume, run, Request(triage=True), compute=CPU).self_rating.calibrated
    save_calibration(Calibration(open_predictor(run).sha256, WARM), run)
    assert segment(volume, run, Request(triage=True), compute=CPU).self_rating.calibrated


def test_temperatures_of_other_weights_are_not_used_and_damaged_ones_are_refused(model):
    save_calibration(Calibration("another", WARM), model)
    assert open_predictor(model).choices(Request(confidence=True)).temperatures is None
    for text in ("[]", '{"temperatures": {"a": 1}}', json.dumps({"temperatures": {"a": [0, 1]}, "fitted_on": {}})):
        (model / CALIBRATED).write_text(text)
        with pytest.raises(ModelError, match=r"calibrated.json: expected"):
            load_calibration(model, None)
    names = load_model(model).record.labels.names
    some = dict.fromkeys(names[1:], (2.0, 2.0))
    save_calibration(Calibration(str(load_model(model).sha256), some), model)
    with pytest.raises(ModelError, match=rf"calibrated.json: expected a record .*no temperatures of {names[0]}"):
        open_predictor(model).choices(Request(confidence=True))


@pytest.mark.parametrize("folds", [None, 2])
def test_training_ends_with_temperatures(dataset, tmp_path, monkeypatch, folds, capsys):
    monkeypatch.setattr(course, "draw_history", lambda history, path, lang: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = make_config(
        folds=folds,
        epochs=1,
        sampling=SamplingConfig(slices_per_case=8),
        optimizer=OptimizerConfig(learning_rate=3e-2),
    )
    stages = []
    assert train_run(dataset, tmp_path / "run", config, Listener(on_stage=stages.append)).finished
    torch.set_num_threads(threads)
    own = tmp_path / "run" / ("best" if folds is None else "")
    calibration = load_calibration(own, open_predictor(tmp_path / "run").sha256)
    expected = ("validation", 5) if folds is None else ("out-of-fold", 6)
    assert (calibration.fitted_on["split"], calibration.fitted_on["cases"]) == expected
    assert "calibrating the probabilities" in stages
    assert main(["models", str(tmp_path / "run")]) == 0
    assert f"calibrated: on {expected[1]} cases" in capsys.readouterr().out


def test_training_that_is_stopped_while_it_calibrates_goes_on_there(dataset, tmp_path):
    stages, epochs = [], []
    listener = Listener(
        on_stage=stages.append,
        on_epoch=epochs.append,
        should_stop=lambda: stages[-1:] == ["calibrating the probabilities"],
    )
    config = make_config(steps=2, workers=0)
    assert not train_run(dataset, tmp_path, config, listener).finished
    assert epochs
    assert not (tmp_path / "best" / CALIBRATED).exists()
    assert train_run(dataset, tmp_path, config, Listener(on_epoch=lambda _: pytest.fail("it trained again"))).finished
    assert (tmp_path / "best" / CALIBRATED).is_file()


def test_nothing_is_expected_of_a_scan_unlike_training(model, tmp_path, capsys):
    record = json.loads((model / "model.json").read_text())
    ranges = {"spacing_mm": [[3, 3]] * 3, "extent_mm": [[300, 300]] * 3, "tissue_hu": [], "parts": []}
    (model / "model.json").write_text(json.dumps(record | {"trained_on": ranges}))
    warmed(model)
    flags = ("-o", str(tmp_path / "out"), "-m", str(model), "--triage")
    assert main(["predict", "-i", str(write_scan(tmp_path)), *flags]) == 0
    assert "expected Dice - (unlike the training scans)" in capsys.readouterr().out


def test_slices_on_another_grid_are_compared_with_the_voxels_in_which_its_points_lie(dataset):
    """Points of an imported network's grid: of two voxels' edge the upper has it."""
    case = Preprocessed(dataset).split("validation")[0]
    seen = []

    class Seen(LogitCounts):
        def add(self, logits, reference):
            seen.append(reference)

    watch = CountedCase(case, Seen(3), Placement((1, 0, 2), (8, 9, 5), (4, 3, 5)))
    for _ in range(5):
        watch.add(np.zeros((3, 4, 3), np.float32))
    for k, reference in enumerate(seen, start=2):
        whole = unpack(case.masks_slice(k), 3)
        assert np.array_equal(reference, whole[:, [2, 4, 6, 8]][:, :, [1, 4, 7]])
    assert np.any(seen)
