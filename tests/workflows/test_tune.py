"""Tuning: what helps is kept, what does not is not, and predict then does the same."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.nnunet_files import LABELS, REGIONS, Made, write_training
from tests.training.tiny import add_case, finish, make_dataset, make_scan
from tests.workflows.hu_models import make_model
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, DatasetError, ModelError
from tomoseg.evaluation.summary import summarise
from tomoseg.files.nifti import read_ct, write_nifti
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_cases
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.masks import BoxedMask, structure_mask
from tomoseg.models.calibrated import CALIBRATED
from tomoseg.models.folder import load_model
from tomoseg.models.tuned import TUNED, Tuned, load_tuned, save_tuned
from tomoseg.nnunet import TaskRules
from tomoseg.options import Compute, EvaluateOptions, PredictOptions, Request
from tomoseg.postprocess.components import keep_largest
from tomoseg.postprocess.steps import PostprocessStep
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows import choosing
from tomoseg.workflows import tune as tuning
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.import_model import Known, import_model
from tomoseg.workflows.predict import predict
from tomoseg.workflows.triage import ranked
from tomoseg.workflows.tune import tune

CPU = Compute(engine="torch", device="cpu", precision="fp32")
FIVE = {"t": "train"} | dict.fromkeys("vwxyz", "validation")
NOTHING = Known()
AS_TUNED = EvaluateOptions(tuned=True, surfaces=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Scans with a bright speck far from the ball, which a threshold of HU takes for it."""
    folder = tmp_path_factory.mktemp("data")
    for seed, (name, split) in enumerate(FIVE.items()):
        hu, masks = make_scan(seed)
        hu[2:5, 2:4, 6] = 250
        add_case(folder, name, hu, masks, native=split != "train")
    return finish(folder, FIVE).folder


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


def test_what_helps_is_kept_and_written(model, dataset):
    told = []
    tuned, choices = tune(model, dataset, compute=CPU, on_case=lambda *done: told.append(done))
    by_name = {choice.structure: choice for choice in choices}
    assert {str(step).split(":")[0] for step in by_name["ball"].steps} & {"largest", "remove_small", "opening"}
    assert by_name["ball"].after > by_name["ball"].before + 0.01
    assert by_name["both"].before == 0  # never found, so nothing helps it
    assert by_name["both"].steps == ()
    assert tuned == load_tuned(model, load_model(model).sha256)
    assert tuned.steps["ball"] == [str(step) for step in by_name["ball"].steps]
    assert tuned.chosen_on["dice_after"] == pytest.approx(np.mean([c.after for c in choices]))
    assert told[-1] == (15, 15)


def test_a_threshold_and_a_smoothing_that_help_are_chosen(tmp_path, monkeypatch):
    """Noise that differs from slice to slice, and a network that is sure of too little."""
    monkeypatch.setattr(choosing, "STEPS", ())
    for seed, (name, split) in enumerate(FIVE.items()):
        hu, masks = make_scan(seed, (24, 22, 24))
        masks[0, 8:16, 8:16, 4:20] = True  # long enough for neighbours to help
        hu[masks[0]] = 250
        noisy = hu + np.random.default_rng(seed).normal(0, 60, hu.shape).astype(np.int16)
        add_case(tmp_path / "data", name, noisy, masks, native=split != "train")
    data = finish(tmp_path / "data", FIVE)
    model = make_model(tmp_path / "model", gain=4.0, doubt=1.0)
    tuned, choices = tune(model, data.folder, compute=CPU)
    ball = next(choice for choice in choices if choice.structure == "ball")
    assert tuned.thresholds["ball"] < 0.5
    assert tuned.smoothing > 0
    assert ball.after > ball.before + 0.3
    found = evaluate(model, data.folder, options=AS_TUNED, compute=CPU)
    assert np.mean([case.structures[0].dice for case in found.scores]) == pytest.approx(ball.after, abs=0.01)


def test_dice_before_is_that_of_the_predictor(model, dataset):
    _, choices = tune(model, dataset, compute=CPU)
    data = Preprocessed(dataset)
    scores = score_cases(Predictor(load_model(model), CPU), data.split("validation"))
    expected = {row.structure: row.dice for row in summarise(scores, data.labels).structures}
    assert {c.structure: c.before for c in choices} == pytest.approx(expected, abs=0.01)


def write_scan(folder):
    hu, _ = make_scan(5)
    hu[2:5, 2:4, 6] = 250
    path = folder / "scan.nii.gz"
    write_nifti(path, hu, SourceGrid(hu.shape, np.eye(4)))
    return path


def masks_of(folder):
    return {path.name.removesuffix(".nii.gz"): read_ct(path).hu > 0 for path in folder.glob("*.nii.gz")}


def test_predict_does_what_was_chosen_unless_told_otherwise(model, tmp_path):
    scan, loaded = write_scan(tmp_path), load_model(model)
    save_tuned(Tuned(str(loaded.sha256), 0.0, {"cube": 0.995}, {"ball": ["largest"]}), model)
    run = partial(predict, scan, model=model, compute=CPU)
    run(tmp_path / "tuned")
    run(tmp_path / "plain", options=PredictOptions(tuned=False))
    run(tmp_path / "given", options=PredictOptions(postprocess=("cube=opening:1",), threshold=("cube=0.5",)))
    tuned, plain, given = (masks_of(tmp_path / name) for name in ("tuned", "plain", "given"))
    assert np.array_equal(tuned["ball"], keep_largest(BoxedMask.of(plain["ball"])).whole())
    assert 0 < tuned["ball"].sum() < plain["ball"].sum()
    assert tuned["cube"].sum() < plain["cube"].sum()
    assert np.array_equal(given["ball"], plain["ball"])
    assert given["cube"].sum() < plain["cube"].sum()
    record = json.loads((tmp_path / "tuned" / "prediction.json").read_text())
    assert record["postprocess"] == {"ball": ["largest"]}
    assert record["threshold"] == {"cube": 0.995}
    assert "postprocess" in record["seconds"]


def test_label_maps_are_processed_too(model, tmp_path):
    scan = write_scan(tmp_path)
    run = partial(predict, scan, model=model, compute=CPU)
    run(tmp_path / "plain.nii.gz", options=PredictOptions(ml=True))
    run(tmp_path / "one.nii.gz", options=PredictOptions(ml=True, postprocess=("largest",)))
    plain, one = (read_ct(tmp_path / f"{name}.nii.gz").hu for name in ("plain", "one"))
    assert (plain == 5)[2:5, 2:4, 6].all()
    assert not one[2:5, 2:4, 6].any()
    with pytest.raises(ConfigError, match=r"expected masks for crf, got --ml; leave --ml off, or crf out"):
        run(tmp_path / "crf.nii.gz", options=PredictOptions(ml=True, postprocess=("crf",)))


def test_a_random_field_gets_its_probabilities_without_them_being_written(model, tmp_path):
    predict(write_scan(tmp_path), tmp_path / "out", model, PredictOptions(postprocess=("crf",)), CPU)
    assert not (tmp_path / "out" / "confidence").exists()
    record = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert record["postprocess"]["ball"] == ["crf:3"]


def test_smoothing_changes_the_result_and_zero_does_not(model, tmp_path):
    scan = write_scan(tmp_path)
    for name, smoothing in (("none", None), ("zero", 0.0), ("one", 1.0)):
        predict(scan, tmp_path / name, model, PredictOptions(smoothing=smoothing), CPU)
    none, zero, one = (masks_of(tmp_path / name)["ball"] for name in ("none", "zero", "one"))
    assert np.array_equal(none, zero)
    assert not np.array_equal(none, one)
    assert not one[2:5, 2:4, 6].any()  # a speck in one slice is outvoted by its neighbours


def test_what_was_tuned_for_other_weights_is_not_used(model, tmp_path):
    save_tuned(Tuned("another", 1.0), model)
    assert load_tuned(model, load_model(model).sha256) is None
    (model / TUNED).write_text('{"what": 1}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"tuned.json: expected a record of tuning, got: .*; delete it and tune again"):
        load_tuned(model, load_model(model).sha256)


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": None},
        {"thresholds": {"ball": 5}},
        {"smoothing": "x"},
        {"smoothing": -1},
        {"steps": {"ball": None}},
        {"steps": {"ball": ["larger"]}},
        {"chosen_on": None},
        {"chosen_on": {"dice_on_others": 0.5}},
    ],
)
def test_a_damaged_entry_of_what_was_tuned_is_refused_where_it_is_read(change, tmp_path):
    whole = {"weights_sha256": "a", "smoothing": 0.5, "thresholds": {"ball": 0.4}, "steps": {"ball": ["largest"]}}
    (tmp_path / TUNED).write_text(json.dumps(whole), encoding="utf-8")
    assert load_tuned(tmp_path, "a") == Tuned("a", 0.5, {"ball": 0.4}, {"ball": ["largest"]})
    (tmp_path / TUNED).write_text(json.dumps(whole | change), encoding="utf-8")
    with pytest.raises(ModelError, match=r"tuned.json: expected a record of tuning, got: .*; delete it and tune again"):
        load_tuned(tmp_path, "a")


def test_on_another_grid_no_random_field_is_tried(model, dataset, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(choosing, "process", lambda mask, steps, *rest: tried.extend(steps) or mask)
    tune(model, dataset, compute=CPU)
    assert "crf" in {step.name for step in tried}
    tried.clear()
    coarse = GridConfig(mode="size", size=(12, 11), crop="none")
    data = make_dataset(tmp_path / "coarse", coarse, FIVE)
    tune(make_model(tmp_path / "other", grid=coarse), data.folder, compute=CPU)
    assert "largest" in {step.name for step in tried}
    assert "crf" not in {step.name for step in tried}


def test_evaluation_scores_what_predict_writes(dataset, tmp_path):
    model = make_model(tmp_path / "unsure", gain=4.0)
    weights = str(load_model(model).sha256)
    save_tuned(Tuned(weights, 0.0, {"ball": 0.62}), model)
    plain = evaluate(model, dataset, options=AS_TUNED, compute=CPU).scores
    save_tuned(Tuned(weights, 0.0, {"ball": 0.62}, {"ball": ["crf:3"]}), model)
    found = evaluate(model, dataset, options=AS_TUNED, compute=CPU)
    for case, other in zip(found.scores, plain, strict=True):
        opened = next(one for one in Preprocessed(dataset).split("validation") if one.name == case.case)
        write_nifti(tmp_path / f"{case.case}.nii.gz", opened.ct(), SourceGrid(opened.shape, np.eye(4)))
        predict(tmp_path / f"{case.case}.nii.gz", tmp_path / case.case, model, compute=CPU)
        mask, reference = masks_of(tmp_path / case.case)["ball"], structure_mask(opened.masks(), 0)
        dice = 2 * (mask & reference).sum() / (mask.sum() + reference.sum())
        assert case.structures[0].dice == pytest.approx(dice)
        assert dice > other.structures[0].dice + 0.02  # the field fills what noise tore
    assert found.warnings == ()
    drawn = AS_TUNED.model_copy(update={"panels": 1})
    (said,) = evaluate(model, dataset, options=drawn, output=tmp_path / "drawn", compute=CPU).warnings
    assert said.startswith("the pictures show masks before the steps that tune chose")


def test_a_tuned_random_field_needs_the_scan(tmp_path):
    coarse = GridConfig(mode="size", size=(12, 11), crop="none")
    data = make_dataset(tmp_path / "coarse", coarse, {"a": "train", "v": "validation"})
    model = make_model(tmp_path / "model", grid=coarse)
    save_tuned(Tuned(str(load_model(model).sha256), 0.0, {}, {"ball": ["crf:3"]}), model)
    with pytest.raises(
        ConfigError, match=r"got crf, which needs the scan, .* on another grid; predict, then score the"
    ):
        evaluate(model, data.folder, options=EvaluateOptions(tuned=True), compute=CPU)


def test_a_packaged_model_is_refused_before_the_search(tmp_path):
    data = make_dataset(tmp_path / "data", splits={"a": "train", "v": "validation"})
    with pytest.raises(ModelError, match=r"expected your own model folder, got a packaged model; copy the folder"):
        tune(Path("head-neck/axial"), data.folder, compute=CPU, on_case=lambda done, total: pytest.fail("it searched"))


@pytest.mark.parametrize(("annotated", "most"), [({}, 4), ({name: () for name in "vwxy"}, 0)], ids=["four", "none"])
def test_a_split_of_too_few_patients_is_refused_before_the_search(annotated, most, model, tmp_path):
    data = make_dataset(
        tmp_path / "data", splits={"t": "train"} | dict.fromkeys("vwxy", "validation"), annotated=annotated
    )
    with pytest.raises(
        DatasetError,
        match=f"split 'validation': expected a structure in 5 patients or more, got at most {most}, or 20 masks of two "
        f"patients or more to choose one threshold for all structures, got {3 * most} of {most}; add cases",
    ):
        tune(model, data.folder, compute=CPU, on_case=lambda done, total: pytest.fail("it searched"))
    assert not (model / TUNED).exists()


def test_cases_of_one_patient_are_one_patient(model, tmp_path):
    for seed, (name, split) in enumerate(FIVE.items()):
        add_case(tmp_path, name, *make_scan(seed), native=split != "train")
    path = tmp_path / "cases" / "z" / "case.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"patient": "v"}), encoding="utf-8")
    finish(tmp_path, FIVE)
    with pytest.raises(DatasetError, match=r"expected a structure in 5 patients or more, got at most 4"):
        tune(model, tmp_path, compute=CPU)


def test_a_structure_of_too_few_patients_is_left_as_it_is(tmp_path):
    """The speck hurts the ball in all cases, and so does noise that smoothing would take away."""
    for seed, (name, split) in enumerate(FIVE.items()):
        hu, masks = make_scan(seed, (24, 22, 24))
        masks[0, 8:16, 8:16, 4:20] = True
        hu[masks[0]] = 250
        noisy = hu + np.random.default_rng(seed).normal(0, 60, hu.shape).astype(np.int16)
        annotated = (0, 1, 2) if name == "v" else (0, 2)
        add_case(tmp_path / "data", name, noisy, masks, annotated=annotated, native=split != "train")
    data = finish(tmp_path / "data", FIVE)
    model = make_model(tmp_path / "model", gain=4.0, doubt=1.0)
    told, named = [], []
    tuned, choices = tune(
        model,
        data.folder,
        compute=CPU,
        on_case=lambda *done: told.append(done),
        on_structure=lambda *at: named.append(at),
    )
    assert [choice.structure for choice in choices] == ["ball", "both"]
    assert named == [("ball", 0, 2), ("both", 1, 2)]
    assert tuned.chosen_on["left"] == {"cube": 1}
    assert "ball" in tuned.thresholds
    assert "cube" not in tuned.thresholds | tuned.steps
    assert (tuned.smoothing, told[-1]) == (0.0, (5, 5))  # it would change the cube as well
    assert tuned.chosen_on["dice_after"] == pytest.approx(np.mean([choice.after for choice in choices]))


def test_structures_of_few_patients_share_a_threshold(tmp_path, monkeypatch):
    """Three patients, and a network that is sure of too little; predict then decides by what was chosen."""
    monkeypatch.setattr(tuning, "LEAST_MASKS", 9)
    splits = {"t": "train"} | dict.fromkeys("vwx", "validation")
    for seed, (name, split) in enumerate(splits.items()):
        hu, masks = make_scan(seed)
        noisy = hu + np.random.default_rng(seed).normal(0, 30, hu.shape).astype(np.int16)
        add_case(tmp_path / "data", name, noisy, masks, native=split != "train")
    data = finish(tmp_path / "data", splits)
    model = make_model(tmp_path / "model", gain=4.0, doubt=1.0)
    tuned, choices = tune(model, data.folder, compute=CPU)
    assert len({choice.threshold for choice in choices}) == 1
    assert tuned.thresholds == dict.fromkeys(["ball", "cube", "both"], choices[0].threshold)
    assert choices[0].threshold < 0.5
    assert (tuned.smoothing, tuned.steps) == (0.0, {})
    assert tuned.chosen_on["together"] == {"ball": 3, "cube": 3, "both": 3}
    assert tuned.chosen_on["left"] == {}
    assert tuned.chosen_on["dice_on_others"] > tuned.chosen_on["dice_before"] + 0.05
    found = evaluate(model, data.folder, options=AS_TUNED, compute=CPU)
    expected = {choice.structure: choice.after for choice in choices}
    assert {row.structure: row.dice for row in found.summary.structures} == pytest.approx(expected, abs=0.01)
    assert not (model / CALIBRATED).exists()  # temperatures take five patients


def test_a_record_says_what_the_model_was_tuned_on(model, tmp_path):
    scan, loaded = write_scan(tmp_path), load_model(model)
    run = partial(predict, scan, tmp_path / "out", model, compute=CPU)

    def said(**options):
        (done,) = run(options=PredictOptions(**options))
        assert not done.skipped
        return done.record.get("tuned")

    assert said() is None
    save_tuned(Tuned(str(loaded.sha256), 0.0, {"cube": 0.995}, {}, {"cases": 12}), model)
    assert said() == {"cases": 12}
    assert said(tuned=False) is None
    assert said(threshold=("0.4",)) is None  # nothing that was tuned decides
    assert said(roi_subset=("ball",)) is None
    save_tuned(Tuned(str(loaded.sha256), 0.5), model)
    assert said() == {"cases": None}
    assert said(smoothing=0.0) is None
    save_tuned(Tuned(str(loaded.sha256), 0.0, {}, {"ball": ["largest"]}, {"cases": 2}), model)
    assert said() == {"cases": 2}
    assert said(postprocess=("fill_holes",)) is None


def test_triage_ranks_the_scans(model, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed, noise in ((0, 0), (1, 60), (2, 20)):
        hu, _ = make_scan(seed)
        noisy = hu + np.random.default_rng(seed).normal(0, noise, hu.shape).astype(np.int16)
        write_nifti(folder / f"noise_{noise}.nii.gz", noisy, SourceGrid(hu.shape, np.eye(4)))
    results = predict(folder, tmp_path / "out", model, PredictOptions(triage=True, ml=True), CPU)
    rows = ranked(results)
    assert [row.scan for row in rows] == ["noise_60", "noise_20", "noise_0"]
    lines = (tmp_path / "out" / "triage.csv").read_text().splitlines()
    assert lines[0] == "rank,scan,self_rating,lowest_structure,self_rating_of_it,structures_found,no_rating_because"
    assert [line.split(",")[:2] for line in lines[1:]] == [[str(n), row.scan] for n, row in enumerate(rows, start=1)]
    found = {r.scan.name: sum(v is not None for v in r.record["self_rating"]["structures"].values()) for r in results}
    assert {row.scan: row.found for row in rows} == found
    assert all(line.endswith(f",{row.found},") for line, row in zip(lines[1:], rows, strict=True))
    record = results[0].record
    assert record["self_rating"]["mean"] == pytest.approx(
        np.mean([v for v in record["self_rating"]["structures"].values() if v is not None])
    )
    assert record["self_rating"]["structures"]["both"] is None
    (both,) = predict(folder / "noise_0.nii.gz", tmp_path / "both", [model, model], PredictOptions(triage=True), CPU)
    assert both.record["self_rating"]["mean"] == 1.0  # they agree
    assert both.record["model_sha256"] == "+".join([record["model_sha256"]] * 2)


class TestImportedModels:
    """References are the model's own masks, of which each case lacks all but the largest piece of the spleen."""

    @staticmethod
    def made(folder, made=None, folds=(0,), known=NOTHING):
        import_model(write_training(folder / "nn", made, folds=folds), folder / "model", known=known)
        predictor = open_predictor(folder / "model", CPU)
        for seed, (name, split) in enumerate(FIVE.items()):
            hu = make_scan(seed)[0]
            found = segment(Volume.from_array(hu, np.eye(4)), predictor)
            masks = np.stack([found.mask(structure) for structure in found.labels.names])
            masks[1] = keep_largest(BoxedMask.of(masks[1])).whole()
            add_case(folder / "data", name, hu, masks, native=split != "train")
        return finish(folder / "data", FIVE, predictor.record.labels).folder

    @pytest.mark.parametrize(
        ("folds", "known"),
        [((0,), NOTHING), ((0, 1), NOTHING), ((0,), Known(plan={"axes": "ras", "rules": TaskRules(task="made")}))],
        ids=["one", "two folds", "a task"],
    )
    def test_steps_are_chosen_where_structures_exclude_one_another(self, tmp_path, folds, known, monkeypatch):
        monkeypatch.setattr(choosing, "STEPS", ((PostprocessStep("largest"),),))
        data = self.made(tmp_path, folds=folds, known=known)
        model = tmp_path / "model"
        tuned, choices = tune(model, data, compute=CPU)
        by_name = {choice.structure: choice for choice in choices}
        assert tuned.thresholds == {}
        assert tuned.smoothing == 0
        assert [choice.before for choice in choices if choice.structure != "spleen"] == [1, 1]
        assert tuned.steps == {"spleen": ["largest"]}
        assert by_name["spleen"].before < 0.99
        assert by_name["spleen"].after == by_name["spleen"].on_others == 1
        plain, better = (
            evaluate(model, data, EvaluateOptions(tuned=is_tuned, surfaces=False), compute=CPU).summary
            for is_tuned in (False, True)
        )
        assert [row.dice for row in plain.structures] == pytest.approx([1, by_name["spleen"].before, 1])
        assert [row.dice for row in better.structures] == [1, 1, 1]
        scan = Volume.from_array(make_scan(2)[0], np.eye(4))
        pieces = [segment(scan, model, Request(tuned=how), compute=CPU).mask("spleen") for how in (False, True)]
        assert np.array_equal(pieces[1], keep_largest(BoxedMask.of(pieces[0])).whole())
        assert pieces[1].sum() < pieces[0].sum()

    @pytest.mark.parametrize("labels", [LABELS, REGIONS], ids=["exclusive", "regions"])
    def test_their_dice_can_be_expected(self, labels, tmp_path, monkeypatch):
        """Of a structure of which the network is as sure as of others every other slice is not it, people say."""
        monkeypatch.setattr(choosing, "STEPS", ())
        model, voxels = tmp_path / "model", np.diag([2.0, 2.0, 3.0, 1.0])  # the network's own
        import_model(write_training(tmp_path / "nn", Made(labels=labels)), model)
        scans = [make_scan(seed)[0] for seed in range(len(FIVE))]
        volumes = [Volume.from_array(hu, voxels) for hu in scans]
        asked = Request(triage=True, confidence=True)
        before = [segment(volume, model, asked, compute=CPU) for volume in volumes]
        found = np.stack([[one.mask(name) for name in one.labels.names] for one in before])
        right, half = np.argsort(-found.sum(axis=(2, 3, 4)).min(axis=0), kind="stable")[:2]
        reference = found.copy()
        reference[:, half, ..., ::2] = False
        for number, (case, split) in enumerate(FIVE.items()):
            add_case(
                tmp_path / "data", case, scans[number], reference[number], spacing_mm=(2.0, 2.0, 3.0),
                native=split != "train",
            )  # fmt: skip
        tune(model, finish(tmp_path / "data", FIVE, before[0].labels).folder, compute=CPU)
        after = [segment(volume, model, asked, compute=CPU) for volume in volumes]
        rated, was = ([list(one.self_rating.structures.values()) for one in made[1:]] for made in (after, before))
        true = [2 * r[half].sum() / (r[half].sum() + f[half].sum()) for r, f in zip(reference, found, strict=True)]
        assert [{one.self_rating.calibrated for one in made} for made in (before, after)] == [{False}, {True}]
        assert np.mean([one[right] for one in rated]) > 0.85  # as near to 1 as the coldest temperature comes
        assert np.mean([one[half] for one in rated]) == pytest.approx(np.mean(true[1:]), abs=0.05)
        assert np.mean([one[half] for one in was]) > np.mean(true[1:]) + 0.1
        for number, name in enumerate(after[1].labels.names):
            assert np.array_equal(after[1].mask(name), found[1][number])
        mask, sure = found[1][half], after[1].confidence.map(after[1].labels.names[half]).astype(float)
        assert 2 * sure[mask].sum() / (sure.sum() + 255 * mask.sum()) == pytest.approx(rated[0][half], abs=0.02)
        plain = segment(volumes[1], model, asked.model_copy(update={"calibrated": False}), compute=CPU)
        name = plain.labels.names[half]
        assert np.array_equal(plain.confidence.map(name), before[1].confidence.map(name))

    def test_regions_have_thresholds(self, tmp_path, monkeypatch):
        monkeypatch.setattr(choosing, "STEPS", ())
        data = self.made(tmp_path, Made(labels=REGIONS))
        model = tmp_path / "model"
        predictor = open_predictor(model, CPU)
        for number, case in enumerate(Preprocessed(data).cases):
            less = segment(Volume.from_array(case.ct(), np.eye(4)), predictor, Request(threshold=("0.6",)))
            masks = np.stack([less.mask(structure) for structure in less.labels.names])
            add_case(tmp_path / "again", case.name, case.ct(), masks, native=number > 0)
        finish(tmp_path / "again", FIVE, predictor.record.labels)
        tuned, choices = tune(model, tmp_path / "again", compute=CPU)
        assert set(tuned.thresholds.values()) == {0.6}
        assert all(choice.after > 0.99 for choice in choices if choice.structure in tuned.thresholds)
