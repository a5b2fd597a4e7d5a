"""Evaluation as a command does it: what is scored, written, drawn and refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.evaluation.made import structure_score
from tests.pictures.test_page_3d import read as read_page
from tests.training.tiny import LABELS, NATIVE, add_case, finish, make_dataset
from tomoseg.config import GridConfig, NetworkConfig
from tomoseg.errors import ConfigError, DatasetError, InputError, ModelError
from tomoseg.evaluation.score_files import read_scores
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.statistics import DRAWS
from tomoseg.evaluation.summary import summarise
from tomoseg.files.nifti import write_nifti
from tomoseg.labels import LabelSet
from tomoseg.masks import unpack
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.options import Compute, EvaluateOptions
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.run_folder import METRICS
from tomoseg.volume import SourceGrid
from tomoseg.workflows.evaluate import evaluate, worst_cases, worst_of
from tomoseg.workflows.score_sources import COURSE, MaskSource

CPU = Compute(engine="torch", device="cpu")
TEST = EvaluateOptions(split="test")


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
    found = evaluate(model, dataset, TEST, compute=CPU, on_case=lambda done, total: told.append((done, total)))
    assert [score.case for score in found.scores] == ["t", "u"]
    assert found.summary == summarise(found.scores, LABELS, DRAWS)
    assert found.summary.cases == 2
    assert told == [(1, 2), (2, 2)]
    assert [score.case for score in evaluate(model, dataset, compute=CPU).scores] == ["v"]


def test_what_does_not_fit_is_refused(dataset, tmp_path):
    with pytest.raises(DatasetError, match=r"structures of the model \(liver\), got others: ball, cube, both;"):
        evaluate(save(tmp_path / "liver", LabelSet.from_names(["liver"])), dataset)
    with pytest.raises(DatasetError, match=r"expected the model's grid, with mode spacing.*, got mode native"):
        evaluate(save(tmp_path / "grid", grid=GridConfig()), dataset)
    with pytest.raises(ConfigError, match=r"split.*nothing"):
        EvaluateOptions(split="nothing")
    with pytest.raises(ConfigError, match="expected a run of folds for split out-of-fold"):
        evaluate(save(tmp_path / "model"), dataset, EvaluateOptions(split="out-of-fold"))
    with pytest.raises(ModelError, match="expected a model folder"):
        evaluate(tmp_path / "none", dataset)


def test_structures_that_both_have_are_scored_and_the_others_named(dataset, tmp_path):
    model = save(tmp_path / "model")
    every = {one.structure: one for one in evaluate(model, dataset, compute=CPU).scores[0].structures}
    data = Preprocessed(dataset).with_structures(LabelSet((LABELS["cube"], *LabelSet.total().subset(["heart"]))))
    for case in data.cases:
        hu, masks = case.ct(), unpack(case.masks(), 2)
        add_case(tmp_path / "data", case.name, hu, masks.astype(bool), annotated=(0, 1))
    finish(tmp_path / "data", {case.name: case.split for case in data.cases}, data.labels)
    found = evaluate(model, tmp_path / "data", compute=CPU)
    assert found.scores[0].structures == (every["cube"],)
    assert found.labels.names == ("cube",)
    assert [warning.partition(": ")[2] for warning in found.warnings] == ["ball, both", "heart"]


def test_masks_are_scored_without_pytorch_and_without_drawing_anything(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    code = f"""
import sys
from pathlib import Path
from tomoseg.workflows.evaluate import evaluate
folder = Path({str(tmp_path)!r})
found = evaluate(folder / "ours", folder / "ours", output=folder / "out")
print(found.summary.dice, [name for name in ("torch", "matplotlib", "scipy.stats") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[0] == "1.0 []"


def test_the_course_is_looked_for_where_training_writes_it():
    assert COURSE == METRICS


def test_panels_need_a_folder(dataset, tmp_path):
    with pytest.raises(ConfigError, match="expected a folder for 2 pictures, got none; name one"):
        evaluate(save(tmp_path / "model"), dataset, EvaluateOptions(panels=2))


def test_pages_need_a_folder_and_what_makes_them(tmp_path, monkeypatch):
    options = EvaluateOptions(pages_3d=1)
    with pytest.raises(ConfigError, match="expected a folder for 1 pages, got none; name one"):
        evaluate(tmp_path / "none", tmp_path / "none", options)
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module != "skimage")
    with pytest.raises(ConfigError, match="expected scikit-image, found none"):
        evaluate(tmp_path / "none", tmp_path / "none", options, output=tmp_path / "out")


def test_an_unknown_metric_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match=r"got 'surface_dise'; did you mean 'surface_dice'\?"):
        evaluate(tmp_path / "none", tmp_path / "none", EvaluateOptions(metrics=("surface_dise",)))


def test_everything_is_written(dataset, tmp_path):
    model = save(tmp_path / "model")
    found = evaluate(model, dataset, EvaluateOptions(split="test", panels=2), output=tmp_path / "out", compute=CPU)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {path.name for _, _, path in found.pictures} | {
        "scores.csv",
        "ranking.csv",
        "summary.json",
        "report.html",
    }
    lowest = worst_of(found.scores, 2, each_once=True)
    assert [(case, score.structure) for case, score in lowest] == [pair[:2] for pair in found.pictures]
    assert read_scores(tmp_path / "out") == found.scores
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["overall"]["dice"]["mean"] == found.summary.dice
    assert summary["ranking"]["overall"] == list(found.ranking.overall)
    assert {key: summary["how"][key] for key in ("tolerance_mm", "empties", "split", "predicted")} == {
        "tolerance_mm": 3.0,
        "empties": "tomoseg",
        "split": "test",
        "predicted": str(model),
    }
    assert summary["spacing_mm"]["t"] == list(found.scores[0].spacing_mm)
    again = evaluate(model, dataset, EvaluateOptions(split="test", against=tmp_path / "out"), compute=CPU)
    assert again.comparison.overall["dice"].difference == 0
    assert again.comparison.overall["hd95_mm"].p is None
    assert again.warnings == ()
    evaluate(
        model, dataset, EvaluateOptions(split="test", against=tmp_path / "out"), output=tmp_path / "b", compute=CPU
    )
    compared = json.loads((tmp_path / "b" / "summary.json").read_text(encoding="utf-8"))["comparison"]
    assert set(compared["dice_p_corrected"]) == set(compared["structures"])


def test_a_metric_that_is_asked_for_is_in_every_file(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2, 2))
    sides, options = (tmp_path / "ours", tmp_path / "theirs"), EvaluateOptions(metrics=("surface_dice_1mm", "dice"))
    evaluate(*sides, output=tmp_path / "plain")
    found = evaluate(*sides, options, output=tmp_path / "more")
    plain, more = ((tmp_path / name / "scores.csv").read_text().splitlines() for name in ("plain", "more"))
    value = found.scores[0].structures[0].value("surface_dice_1mm")
    assert more == [f"{plain[0]},surface_dice_1mm", f"{plain[1]},{value!r}"]
    assert read_scores(tmp_path / "more") == found.scores
    plain, more = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("plain", "more"))
    assert more["how"] == plain["how"] | {"metrics": ["surface_dice_1mm"]}
    assert more["overall"] == plain["overall"] | {"surface_dice_1mm": more["overall"]["surface_dice_1mm"]}
    assert more["overall"]["surface_dice_1mm"]["mean"] == value
    assert "surface Dice at 1 mm" in (tmp_path / "more" / "report.html").read_text(encoding="utf-8")
    # scores that lack it can still be compared with, and it is compared where both have it
    for against, pairs in (("plain", 0), ("more", 1)):
        options = EvaluateOptions(metrics=("surface_dice_1mm",), against=tmp_path / against)
        assert evaluate(*sides, options).comparison.overall["surface_dice_1mm"].n == pairs


def test_scores_that_were_taken_otherwise_are_told(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2, 2))
    evaluate(tmp_path / "ours", tmp_path / "theirs", output=tmp_path / "out")
    options = EvaluateOptions(against=tmp_path / "out", tolerance_mm=2, empties="brats")
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", options)
    assert [warning.split(": metrics that depend")[0] for warning in found.warnings] == [
        f"{tmp_path / 'out'} was scored with tolerance 3.0, these with 2.0",
        f"{tmp_path / 'out'} was scored with empties tomoseg, these with brats",
    ]
    (tmp_path / "out" / "summary.json").unlink()  # nobody knows then
    assert evaluate(tmp_path / "ours", tmp_path / "theirs", options).warnings == ()


def test_scores_of_other_cases_cannot_be_compared(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2))
    write_masks(tmp_path / "other" / "b", liver=cube(2))
    evaluate(tmp_path / "other", tmp_path / "other", output=tmp_path / "out")
    with pytest.raises(
        DatasetError, match="expected scores of the same cases, got a and b; compare scores of the same"
    ):
        evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(against=tmp_path / "out"))


def test_the_course_of_the_training_is_on_the_page(dataset, tmp_path):
    run = tmp_path / "run"
    save(run / "best")
    (run / "metrics.jsonl").write_text('{"epoch": 1, "train_loss": 0.5, "minutes": 1.0}\n')
    options = EvaluateOptions(split="test", lang="fr")
    evaluate(run, dataset, options, output=tmp_path / "out", compute=CPU)
    assert "Déroulement de l&#39;entraînement" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_cases_that_cannot_be_scored_leave_a_page_too(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2))
    broken = tmp_path / "ours" / "a" / "liver.nii.gz"
    broken.write_bytes(broken.read_bytes()[:40])
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", output=tmp_path / "out")
    assert (found.summary.cases, found.summary.dice, list(found.failed)) == (0, None, ["a"])
    assert "Could not be scored" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ZeroDivisionError("by nothing"),
            "expected no internal error, got ZeroDivisionError: by nothing; please report it",
        ),
        (MemoryError(), "expected enough memory, got none left; hold less at once ("),
    ],
)
def test_an_error_that_nobody_foresaw_ends_its_case_alone(tmp_path, monkeypatch, error, said):
    for side in ("ours", "theirs"):
        for name in "ab":
            write_masks(tmp_path / side / name, liver=cube(2))
    score = MaskSource.score

    def failing(source, name, scoring):
        if name == "a":
            raise error
        return score(source, name, scoring)

    monkeypatch.setattr(MaskSource, "score", failing)
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", output=tmp_path / "out")
    assert [score.case for score in found.scores] == ["b"]
    assert found.failed["a"].startswith(said)
    tracebacks = json.loads((tmp_path / "out" / "summary.json").read_text()).get("tracebacks", {})
    assert [name for name, text in tracebacks.items() if "in failing" in text] == (["a"] if "Zero" in said else [])


def test_the_worst_by_hand():
    def case(name, **dice):
        return CaseScore(name, tuple(structure_score(s, d, d, 1.0, 1.0) for s, d in dice.items()))

    scores = [case("a", liver=0.5, rib=0.1), case("b", liver=0.2, rib=None), case("c", liver=0.9)]
    assert [(c, s.dice) for c, s in worst_of(scores, 3)] == [("a", 0.1), ("b", 0.2), ("a", 0.5)]
    assert [(c, s.dice) for c, s in worst_of(scores, 3, each_once=True)] == [("a", 0.1), ("b", 0.2)]


GRID = SourceGrid((6, 6, 6), np.diag([1.0, 1.0, 2.0, 1.0]))


def cube(edge, start=1):
    mask = np.zeros(GRID.shape, np.uint8)
    mask[start : start + edge, start : start + edge, start : start + edge] = 1
    return mask


def write_masks(folder, **masks):
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        write_nifti(folder / f"{name}.nii.gz", mask, GRID)


def test_masks_against_a_label_map(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2), spleen=cube(1, 4), heart=cube(1))
    write_masks(tmp_path / "ours" / "b", liver=cube(2))
    (tmp_path / "theirs").mkdir()
    for name in "abc":
        write_nifti(tmp_path / "theirs" / f"{name}.nii.gz", cube(2, 2), GRID)
    (tmp_path / "theirs" / "labels.json").write_text('{"liver": 1, "spleen": 2, "aorta": 3}')
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", output=tmp_path / "out")
    assert found.labels.names == ("spleen", "liver")
    assert [(score.case, [s.structure for s in score.structures]) for score in found.scores] == [
        ("a", ["spleen", "liver"]),
        ("b", ["spleen", "liver"]),
    ]
    spleen, liver = found.scores[0].structures
    assert (liver.dice, liver.reference_ml) == (1 / 8, 0.016)
    assert (spleen.dice, spleen.outcome, spleen.false_positive_ml) == (None, "false alarm", 0.002)
    assert found.failed == {"c": f"no prediction in {tmp_path / 'ours'}"}
    assert found.scores[0].spacing_mm == (1, 1, 2)
    assert found.warnings == (
        "1 structure is predicted without a reference and not scored: heart",
        "1 structure is never predicted and not scored: aorta",
        "1 mask without a file among the predictions, counted as empty: b spleen",
    )
    assert (tmp_path / "out" / "report.html").is_file()
    one = evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(structures=("liver",)))
    assert (one.labels.names, one.warnings) == (("liver",), ())


def test_a_pair_of_any_names_belongs_together(tmp_path):
    write_masks(tmp_path / "one", liver=cube(2))
    write_masks(tmp_path / "other", liver=cube(2))
    assert evaluate(tmp_path / "one", tmp_path / "other").summary.dice == 1


def test_masks_that_do_not_go_together(tmp_path, dataset):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "b", liver=cube(2))
    write_masks(tmp_path / "theirs" / "c", liver=cube(2))
    with pytest.raises(DatasetError, match=r"expected cases of the same names on both sides, got a in .* and b, c in"):
        evaluate(tmp_path / "ours", tmp_path / "theirs")
    write_masks(tmp_path / "other" / "a", rib=cube(2))
    with pytest.raises(DatasetError, match="expected structures that both sides have, got liver predicted and rib"):
        evaluate(tmp_path / "ours", tmp_path / "other")
    with pytest.raises(ConfigError, match=r"expected 'liver', got 'livre'; correct it"):
        evaluate(tmp_path / "ours", tmp_path / "ours", EvaluateOptions(structures=("livre",)))
    with pytest.raises(DatasetError, match="expected a preprocessed dataset with a model, got another folder; run"):
        evaluate(save(tmp_path / "model"), tmp_path / "ours")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DatasetError, match=r"a preprocessed dataset with a model, got a file; run .* on the reference"):
        evaluate(tmp_path / "model", tmp_path / "a.txt")


def test_another_grid_fails_alone_or_is_resampled(tmp_path):
    for name in "ab":
        write_masks(tmp_path / "theirs" / name, liver=cube(2))
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    (tmp_path / "ours" / "b").mkdir()
    fine = SourceGrid((12, 6, 6), np.array([[0.5, 0, 0, -0.25], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]]))
    write_nifti(tmp_path / "ours" / "b" / "liver.nii.gz", cube(2).repeat(2, 0), fine)
    found = evaluate(tmp_path / "ours", tmp_path / "theirs")
    assert [score.case for score in found.scores] == ["a"]
    assert "expected the grid of" in found.failed["b"]
    both = evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(resample=True))
    assert (both.failed, both.summary.dice, both.summary.cases) == ({}, 1, 2)


def test_tolerances_from_a_file(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2, 2))
    table = tmp_path / "tolerances.yaml"
    table.write_text("liver: 9\nspleen: 1\n")
    options = EvaluateOptions(tolerances=table)
    assert evaluate(tmp_path / "ours", tmp_path / "theirs", options).scores[0].structures[0].value("surface_dice") == 1
    for text, said in (
        ("spleen: 1", "got none for liver"),
        ("liver: x", "expected lines such as"),
        ("- 3", "expected"),
    ):
        table.write_text(text)
        with pytest.raises(ConfigError, match=said):
            evaluate(tmp_path / "ours", tmp_path / "theirs", options)
    with pytest.raises(InputError, match="expected a YAML file"):
        evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(tolerances=tmp_path / "none"))


def test_other_tolerances_of_single_structures_are_told(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2, 2))
    table = tmp_path / "tolerances.yaml"
    table.write_text("liver: 3\nspleen: 1\n")
    evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(tolerances=table), output=tmp_path / "o")
    for text, said in (("liver: 3", ()), ("liver: 1", ("tolerances liver 3 mm, these with liver 1 mm",))):
        table.write_text(text)
        options = EvaluateOptions(tolerances=table, against=tmp_path / "o")
        found = evaluate(tmp_path / "ours", tmp_path / "theirs", options)
        assert [one in warning for one, warning in zip(said, found.warnings, strict=True)] == [True] * len(said)


def test_a_structure_asked_for_that_one_side_lacks_is_told(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(2), spleen=cube(3))
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(structures=("liver", "spleen")))
    assert found.warnings == ("asked for, but never predicted and so not scored: spleen",)


def test_scores_are_not_lost_for_a_picture(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a" / "segmentations", liver=cube(3))
    (tmp_path / "theirs" / "a" / "ct.nii.gz").write_bytes(b"cut short")
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(panels=3), output=tmp_path / "o")
    assert found.pictures == ()
    assert found.warnings[0].startswith("a liver was not drawn: ")
    assert (tmp_path / "o" / "scores.csv").is_file()


def test_masks_are_not_tuned(tmp_path):
    for side in ("ours", "theirs"):
        write_masks(tmp_path / side / "a", liver=cube(2))
    with pytest.raises(ConfigError, match="expected a model and a preprocessed dataset with --tuned, got masks; leave"):
        evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(tuned=True))


def test_pictures_without_a_scan_are_told(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a", liver=cube(3))
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(panels=3), output=tmp_path / "o")
    assert found.warnings == (
        "a liver was not drawn: expected its CT beside the masks, found none; add it as ct.nii.gz",
    )


def test_pictures_are_drawn_where_there_is_a_scan(tmp_path):
    write_masks(tmp_path / "ours" / "a", liver=cube(2))
    write_masks(tmp_path / "theirs" / "a" / "segmentations", liver=cube(3))
    write_nifti(tmp_path / "theirs" / "a" / "ct.nii.gz", 40 * cube(6, 0).astype(np.int16), GRID)
    found = evaluate(
        tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(panels=3, lang="fr"), output=tmp_path / "o"
    )
    assert [path.name for _, _, path in found.pictures] == ["a_liver.png"]
    assert "Évaluation" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_the_worst_cases_come_first():
    def case(name, *dice):
        return CaseScore(name, tuple(structure_score(str(n), d, d, 1.0, 1.0) for n, d in enumerate(dice)))

    cases = [case("a", 0.9, 0.5), case("b", 0.6, None), case("c", None), case("d", 0.6)]
    assert worst_cases(cases, 2) == ["b", "d"]
    assert worst_cases(cases, 9) == ["b", "d", "a"]


def test_pages_of_the_worst_cases_are_written_and_linked(tmp_path):
    pytest.importorskip("skimage", reason="needs scikit-image")
    for case, size in (("a", 2), ("b", 3)):
        write_masks(tmp_path / "ours" / case, liver=cube(size))
        write_masks(tmp_path / "theirs" / case, liver=cube(3))
    found = evaluate(tmp_path / "ours", tmp_path / "theirs", EvaluateOptions(pages_3d=1), output=tmp_path / "o")
    assert found.pages == (("a", tmp_path / "o" / "a_3d.html"),)
    about, *_ = read_page(tmp_path / "o" / "a_3d.html")
    assert [one["dice"] for one in about["structures"]] == [round(found.summary.structures[0].dice * 2 - 1, 6)]
    assert about["sides"] == ["Prediction", "Reference"]
    assert '<a href="a_3d.html">a</a>' in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_a_page_of_what_a_model_predicts_has_the_dice_of_its_scores(dataset, tmp_path):
    pytest.importorskip("skimage", reason="needs scikit-image")
    options = EvaluateOptions(split="test", pages_3d=1)
    found = evaluate(save(tmp_path / "model"), dataset, options, output=tmp_path / "o", compute=CPU)
    ((case, path),) = found.pages
    about, *_ = read_page(path)
    scores = {s.structure: s.dice for c in found.scores if c.case == case for s in c.structures}
    shown = {one["name"]: one["dice"] for one in about["structures"]}
    assert {name: None if d is None else round(d, 6) for name, d in scores.items() if d is not None} == {
        name: dice for name, dice in shown.items() if scores.get(name) is not None
    }
