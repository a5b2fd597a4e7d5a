"""What was noticed of scans goes with their results into the evaluation: its terminal, its page, its summary."""

import gzip
import json

import numpy as np
import pytest
import torch

from tests.files.handmade import nifti1
from tests.training.tiny import LABELS, NATIVE, SPLITS, make_dataset
from tests.workflows.datasets import GRID
from tests.workflows.predicting import run
from tomoseg.config import NetworkConfig
from tomoseg.evaluation.ranking import rank
from tomoseg.evaluation.summary import summarise
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.notices import Notice, by_weight
from tomoseg.options import Compute
from tomoseg.preprocessed.format import CASE_RECORD, CASES
from tomoseg.terminal.predictions import show_predictions
from tomoseg.terminal.scores import show_evaluation
from tomoseg.workflows.evaluate import Evaluation, evaluate
from tomoseg.workflows.prediction_record import noticed_of_result


@pytest.mark.parametrize("ml", [False, True])
@pytest.mark.parametrize("format_", ["nifti", "nrrd", "mha"])
def test_what_predict_noticed_is_told_by_evaluate(ct, model, tmp_path, ml, format_):
    (tmp_path / "scans").mkdir()
    for name in ("a", "b.c"):
        too_long = gzip.compress(gzip.decompress(ct.read_bytes()) + b"more")
        (tmp_path / "scans" / f"{name}.nii.gz").write_bytes(too_long)
    done = run(tmp_path / "scans", tmp_path / "out", model, ml=ml, format=(format_,))
    noticed = by_weight(notice.without(done[0].scan.path) for notice in done[0].warnings)
    warned = [notice for notice in noticed if notice.level == "warning"]
    assert warned
    found = evaluate(tmp_path / "out", tmp_path / "out", output=tmp_path / "scores")
    assert found.noticed == {"a": noticed, "b.c": noticed}
    assert found.gathered == [notice.of("a, b.c") for notice in warned]
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert "Notices about the scans" in page
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text(encoding="utf-8"))
    assert summary["noticed"]["a"] == [notice.as_dict() for notice in noticed]


def test_that_nothing_was_found_goes_everywhere(ct, model, tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr("tomoseg.pictures.preview.draw_preview", lambda *given, **also: drawn.append(also["warnings"]))
    (done,) = run(ct, tmp_path / "out", model, postprocess=("remove_small:1000000",), preview=True)
    said = "None of the 3 structures was found: absent, outside the scan, or missed. Look at the scan."
    show_predictions([done])
    assert f"warning: {done.scan.name}: {said}" in capsys.readouterr().err.splitlines()
    record = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert {"kind": "nothing found", "level": "warning", "message": said} in record["warnings"]
    assert said in map(str, drawn[0])
    found = evaluate(tmp_path / "out", tmp_path / "out")
    assert f"out: {said}" in map(str, found.gathered)


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    file = tmp_path / "liver.nii.gz"
    assert noticed_of_result(file) == ()
    entry = {"kind": "tilt", "level": "warning", "message": "old/place/s0.nii: tilted: 3 degrees"}
    for content in ("{", "[]", '{"warnings": 3}', '{"warnings": [{"kind": 1}], "input": {"path": "x"}}'):
        (tmp_path / "prediction.json").write_text(content)
        assert noticed_of_result(file) == ()
    record = {"warnings": [entry], "input": {"path": "/where/it/was/s0.nii"}}
    (tmp_path / "prediction.json").write_text(json.dumps(record))
    assert noticed_of_result(file) == (Notice("tilted: 3 degrees", "tilt"),)
    (tmp_path / "liver.prediction.json").write_text(json.dumps(record | {"warnings": []}))
    assert noticed_of_result(file) == ()  # a label map's own record comes first


def test_what_is_odd_of_a_references_geometry_is_told(tmp_path):
    mask = np.zeros(GRID.shape, np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    for side in ("ours", "theirs"):
        for name in "ab":
            (tmp_path / side / name).mkdir(parents=True)
            # voxels of 3 mm by the columns, of 5 mm by pixdim along the last axis
            content = nifti1(mask, sform=((3, 0, 0, 0), (0, 3, 0, 0), (0, 0, 3, 0)), pixdim=(1, 3, 3, 5, 0, 0, 0, 0))
            (tmp_path / side / name / "liver.nii").write_bytes(content)
    found = evaluate(tmp_path / "ours", tmp_path / "theirs")
    assert [(notice.kind, str(notice).startswith("a, b: ")) for notice in found.gathered] == [("two edges", True)]
    assert found.summary.dice == 1


def test_of_a_model_what_preprocessing_noticed_is_told(tmp_path, capsys):
    make_dataset(tmp_path / "data")
    name = next(name for name, split in SPLITS.items() if split == "validation")
    path = tmp_path / "data" / CASES / name / CASE_RECORD
    grave, small = Notice("It is no CT.", "not HU"), Notice("The gantry was tilted.", "tilt")
    record = json.loads(path.read_text()) | {"warnings": [small.as_dict(), grave.as_dict()]}
    path.write_text(json.dumps(record))
    torch.manual_seed(0)
    made = ModelRecord(LABELS, NetworkConfig(channels=(8, 16)), NATIVE, ((-200.0, 300.0),))
    save_model(Model(made, made.build()), tmp_path / "model")
    on_cpu = Compute(engine="torch", device="cpu")
    found = evaluate(tmp_path / "model", tmp_path / "data", output=tmp_path / "o", compute=on_cpu)
    assert found.gathered == [grave.of(name), small.of(name)]
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert f'<li class="decisive">{name}: It is no CT.</li>' in page
    assert f"<li>{name}: The gantry was tilted.</li>" in page
    show_evaluation(found, "", tmp_path / "o")
    assert capsys.readouterr().err.splitlines()[:2] == [f"warning: {grave.of(name)}", f"warning: {small.of(name)}"]


def test_notes_are_in_the_summary_alone():
    labels = LabelSet.from_names(["liver"])
    told = {"a": (Notice("Left out: a localizer.", "left out"), Notice("Tilted.", "tilt"))}
    assert Evaluation(summarise([], labels), [], labels, rank([], labels), noticed=told).gathered == [
        Notice("a: Tilted.", "tilt")
    ]
