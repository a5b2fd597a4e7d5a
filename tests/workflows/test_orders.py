"""A dataset whose structures come in another order than a model's gives what one in the model's order gives."""

import json

import numpy as np
import pytest

from tests.nnunet_files import write_training
from tests.training.tiny import LABELS, NATIVE, add_case, finish, make_dataset, make_scan, make_shuffled
from tests.workflows.hu_models import make_model
from tomoseg.cli import main
from tomoseg.errors import DatasetError
from tomoseg.inference.segment import segment
from tomoseg.labels import LabelSet
from tomoseg.models.calibrated import CALIBRATED
from tomoseg.models.exports import load_exports
from tomoseg.options import Compute, EvaluateOptions
from tomoseg.volume import Volume
from tomoseg.workflows import fuse as fuse_room
from tomoseg.workflows import time_engines as timing
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.export import export
from tomoseg.workflows.fuse import fuse
from tomoseg.workflows.import_model import import_model
from tomoseg.workflows.measure_engines import measure_engines
from tomoseg.workflows.tune import tune

CPU = Compute(engine="torch", device="cpu", precision="fp32")
SPLITS = {"t": "train"} | dict.fromkeys("vwxyz", "validation")
KNOWN = {"w": (0, 1)}
OTHER = (2, 0, 1)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """One in the order of `LABELS` and one in another."""
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder / "data", splits=SPLITS, annotated=KNOWN)
    make_shuffled(folder / "other" / "data", OTHER, splits=SPLITS, annotated=KNOWN)
    return folder / "data", folder / "other" / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


def test_scores_and_pictures_are_the_same(model, datasets, tmp_path):
    options = EvaluateOptions(panels=2)
    first, other = (evaluate(model, data, options, output=tmp_path / str(n)) for n, data in enumerate(datasets))
    assert other.scores == first.scores
    assert other.summary == first.summary
    assert other.labels == first.labels == LABELS
    of_v = {one.structure: one.dice for one in other.scores[0].structures}
    assert of_v["ball"] > 0.9 > 0.1 > of_v["both"]  # not exchanged
    assert [p.read_bytes() for p in sorted((tmp_path / "1").glob("*.png"))] == [
        p.read_bytes() for p in sorted((tmp_path / "0").glob("*.png"))
    ]


def test_what_tuning_chooses_is_the_same(datasets, tmp_path):
    models = [make_model(tmp_path / name) for name in ("first", "other")]
    (first, before), (other, choices) = (tune(m, d, compute=CPU) for m, d in zip(models, datasets, strict=True))
    assert other == first
    assert choices == before
    fitted = [json.loads((model / CALIBRATED).read_text()) for model in models]
    assert fitted[0] == fitted[1]


def test_mixtures_of_views_are_the_same(model, datasets, tmp_path, monkeypatch):
    monkeypatch.setattr(fuse_room, "LEAST_VOXELS", 20)
    coronal = make_model(tmp_path / "coronal", NATIVE.model_copy(update={"view": "coronal"}), doubt=8.0)
    first, other = (fuse([model, coronal], data, tmp_path / str(n), compute=CPU) for n, data in enumerate(datasets))
    assert other.fusion.shares == first.fusion.shares
    assert other.dice == pytest.approx(first.dice, nan_ok=True)


def test_engines_are_measured_and_calibrated_alike(datasets, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "STABLE", 100.0)
    models = [make_model(tmp_path / name) for name in ("first", "other")]
    measured = []
    for model, data in zip(models, datasets, strict=True):
        export(model, "openvino", "int8", data)
        ways = measure_engines(model, data)
        measured.append({f"{way.engine} {way.precision}": way.dice for way in ways})
    assert measured[1] == measured[0]
    drawn = [load_exports(model)["openvino/int8"].made["calibrated_with"] for model in models]
    assert drawn[1] == drawn[0]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    import_model(write_training(folder / "nn"), folder / "model")
    return folder / "model"


def test_an_imported_model_is_scored_on_a_dataset_in_the_order_of_names(imported, tmp_path, capsys):
    """Its references are the model's own masks, but half of the liver's, so that Dice is known."""
    hu = make_scan(0)[0]
    found = segment(Volume.from_array(hu, np.eye(4)), imported, compute=CPU)
    assert found.labels.names == ("liver", "spleen", "kidney_left")
    names = ("kidney_left", "liver", "spleen")
    masks = np.stack([found.mask(name) for name in names])
    assert len({int(mask.sum()) for mask in masks}) == 3
    masks[1] &= np.cumsum(masks[1]).reshape(masks[1].shape) % 2 == 0
    add_case(tmp_path / "data", "v", hu, masks)
    finish(tmp_path / "data", {"v": "validation"}, LabelSet.from_names(names))
    (scores,) = evaluate(imported, tmp_path / "data", EvaluateOptions(surfaces=False), compute=CPU).scores
    dice = {one.structure: one.dice for one in scores.structures}
    assert list(dice) == ["liver", "spleen", "kidney_left"]
    assert dice == pytest.approx({"liver": 2 / 3, "spleen": 1, "kidney_left": 1}, abs=0.01)
    assert dice["spleen"] == dice["kidney_left"] == 1
    flags = ("--no-surfaces", "--device", "cpu", "--panels", "1", "-o", str(tmp_path / "out"))
    assert main(["evaluate", str(imported), str(tmp_path / "data"), *flags]) == 0
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["v_liver.png"]
    finish(tmp_path / "data", {"v": "validation"}, LabelSet.from_names(("kidney_left", "liver", "heart")))
    found = evaluate(imported, tmp_path / "data", EvaluateOptions(surfaces=False), compute=CPU)
    assert {one.structure: one.dice for one in found.scores[0].structures} == {
        name: dice[name] for name in ("liver", "kidney_left")
    }
    assert found.labels.names == ("liver", "kidney_left")
    assert found.warnings == (
        "1 structure is predicted without a reference and not scored: spleen",
        "1 structure is never predicted and not scored: heart",
    )
    with pytest.raises(DatasetError, match="structures that the dataset has, got spleen, which only the model has;"):
        evaluate(imported, tmp_path / "data", EvaluateOptions(structures=("spleen",)), compute=CPU)


def test_what_tuning_chooses_goes_by_the_structures_that_the_dataset_knows(datasets, tmp_path):
    """The structure that no case has annotated is one of too few patients, as it is in a dataset that lacks it."""
    for name, labels in (("unknown", LABELS), ("lacking", LABELS.subset(["ball", "cube"]))):
        for seed, case in enumerate(SPLITS):
            hu, masks = make_scan(seed)
            add_case(tmp_path / name / "data", case, hu, masks[: len(labels)], annotated=(0, 1))
        finish(tmp_path / name / "data", SPLITS, labels)
    tuned, choices = zip(
        *(tune(make_model(tmp_path / n / "model"), tmp_path / n / "data", compute=CPU) for n in ("unknown", "lacking")),
        strict=True,
    )
    assert tuned[0] == tuned[1]
    assert choices[0] == choices[1]
    assert tuned[0].chosen_on["left"] == {"both": 0}
    fitted = [json.loads((tmp_path / name / "model" / CALIBRATED).read_text()) for name in ("unknown", "lacking")]
    assert fitted[0] == fitted[1]
