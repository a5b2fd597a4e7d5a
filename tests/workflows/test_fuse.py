"""Models of two views brought together: each structure goes to whom finds it, in files that predict like the parts."""

import json

import numpy as np
import pytest
import torch

from tests.nnunet_files import write_training
from tests.training.tiny import LABELS, NATIVE, make_dataset, make_scan
from tests.workflows.test_tune import make_model
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, DatasetError, ModelError, OutputError
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.models.folder import VIEWS, Model, is_model, load_model, save_model
from tomoseg.models.views import load_fusion, load_views, record_of
from tomoseg.options import Compute, PredictOptions
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import Volume
from tomoseg.workflows import fuse as fuse_room
from tomoseg.workflows.fuse import fuse, mixtures_of, weigh
from tomoseg.workflows.import_model import import_model
from tomoseg.workflows.predict import predict

CPU = Compute(engine="torch", device="cpu", precision="fp32")
CORONAL = NATIVE.model_copy(update={"view": "coronal"})


def blind_to(name, folder):
    """Never finds a structure."""
    model = load_model(folder)
    with torch.no_grad():
        channel = LABELS.channel(name)
        model.network.head.weight[channel] = 0
        model.network.head.bias[channel] = -9
    save_model(Model(model.record, model.network), folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An axial dataset, a model that is blind to the cube, and one of coronal view that is blind to the ball."""
    folder = tmp_path_factory.mktemp("views")
    make_dataset(folder / "pre")
    make_model(folder / "a")
    make_model(folder / "c", grid=CORONAL)
    return folder / "pre", blind_to("cube", folder / "a"), blind_to("ball", folder / "c")


@pytest.fixture(scope="module")
def fused(made, tmp_path_factory):
    dataset, *models = made
    output = tmp_path_factory.mktemp("fused") / "model"
    return fuse(models, dataset, output, least_dice=0.5, compute=CPU), output


def test_mixtures_add_up():
    assert len(mixtures_of(2)) == 5
    assert len(mixtures_of(3)) == 16  # those of quarters, and a third each
    assert np.allclose(mixtures_of(3).sum(axis=1), 1)


def test_each_structure_goes_to_whom_finds_it(fused):
    result, _ = fused
    for shares in result.fusion.shares:
        assert shares.of["ball"][0] >= 0.75
        assert shares.of["cube"][1] >= 0.75
    assert [round(alone["ball"], 1) for alone in result.alone] == [1.0, 0.0]
    assert result.dice["ball"] == pytest.approx(result.alone[0]["ball"])
    assert result.dice["cube"] == pytest.approx(result.alone[1]["cube"])


def test_stacks_of_tall_cases_choose_for_short_scans(made, monkeypatch):
    dataset, *models = made
    monkeypatch.setattr("tomoseg.workflows.fuse.SHORT_MM", 4.0)  # the cases are 8 mm high
    monkeypatch.setattr("tomoseg.workflows.fuse.STACK_MM", 3.0)
    seen = []
    count = fuse_room._count
    monkeypatch.setattr(fuse_room, "_count", lambda *given: seen.append(given[2]) or count(*given))
    result = weigh([load_model(model) for model in models], Preprocessed(dataset), compute=CPU)
    assert seen[::2] == [slice(0, 8)] * 2
    assert [part.stop - part.start for part in seen[1::2]] == [3, 3]
    assert [shares.up_to_mm for shares in result.fusion.shares] == [4.0, None]
    assert result.fusion.shares[1].of["ball"][0] >= 0.75


def test_what_is_found_badly_is_left_out(fused):
    result, output = fused
    assert result.dice["both"] == 0
    assert load_fusion(output).left_out == ("both",)


def test_the_folder_predicts_what_its_parts_do(made, fused, tmp_path):
    _, axial, coronal = made
    _, output = fused
    volume = Volume.from_array(make_scan(7)[0], np.eye(4))
    found = segment(volume, output, compute=CPU)
    assert found.labels.names == ("ball", "cube")
    assert np.array_equal(found.mask("ball"), segment(volume, axial, compute=CPU).mask("ball"))
    assert np.array_equal(found.mask("cube"), segment(volume, coronal, compute=CPU).mask("cube"))
    assert found.mask("ball").sum() > 100 < found.mask("cube").sum()


def test_the_command_names_the_model_and_notes_its_shares(fused, tmp_path):
    from tomoseg.files.nifti import write_nifti
    from tomoseg.volume import SourceGrid

    _, output = fused
    hu = make_scan(7)[0]
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    (done,) = predict(tmp_path / "ct.nii.gz", tmp_path / "out", output, PredictOptions(), CPU)
    assert done.error is None
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["ball.nii.gz", "cube.nii.gz"]
    (again,) = predict(tmp_path / "ct.nii.gz", tmp_path / "out", output, PredictOptions(), CPU)
    assert again.skipped
    record = json.loads((output / VIEWS).read_text())
    record["shares"][0]["of"]["ball"] = [0.75, 0.25]
    (output / VIEWS).write_text(json.dumps(record))
    (changed,) = predict(tmp_path / "ct.nii.gz", tmp_path / "out", output, PredictOptions(), CPU)
    assert not changed.skipped


def test_a_folder_of_views_is_a_model_but_not_one_network(fused):
    _, output = fused
    assert is_model(output)
    record = record_of(output)
    assert record.labels == LABELS
    assert record.provenance == {"networks": "axial, coronal", "found_only_when_asked_for": "both"}
    assert record.scores["dice"]["ball"] > 0.9
    models, fusion = load_views(output)
    assert [model.record.grid.view for model in models] == list(fusion.folders) == ["axial", "coronal"]
    with pytest.raises(ModelError, match=r"expected a model of one network, got one of several.*axial.*coronal"):
        load_model(output)
    assert load_model(output / "coronal").record.grid.view == "coronal"


def test_two_of_one_view_are_refused(made, tmp_path):
    dataset, axial, _ = made
    with pytest.raises(ConfigError, match="each of another view, got axial, axial"):
        fuse([axial, axial], dataset, tmp_path / "model")
    with pytest.raises(ConfigError, match="expected two models or more"):
        fuse([axial], dataset, tmp_path / "model")


def test_imported_networks_are_refused_with_the_reason(made, tmp_path, monkeypatch):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
    dataset, model, _ = made
    import_model(write_training(tmp_path / "nn"), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"got an imported one, whose logits are on its own voxels.*after -m of"):
        fuse([model, tmp_path / "model"], dataset, tmp_path / "out", compute=CPU)
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_there_is_mixed_with(made, tmp_path):
    dataset, *models = made
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    with pytest.raises(OutputError, match="expected a new or empty folder, got one with files in it; choose another"):
        fuse(models, dataset, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]


def test_a_dataset_of_another_view_or_grid_is_refused(made, tmp_path):
    _, axial, coronal = made
    make_dataset(tmp_path / "cor", grid=CORONAL)
    assert Preprocessed(tmp_path / "cor").grid.view == "coronal"
    with pytest.raises(DatasetError, match="expected a dataset of axial view to choose weights on, got coronal"):
        fuse([axial, coronal], tmp_path / "cor", tmp_path / "model")
    make_dataset(tmp_path / "other", grid=GridConfig(mode="native", crop="body"))
    with pytest.raises(DatasetError, match="expected the model's grid"):
        fuse([axial, coronal], tmp_path / "other", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "expected format 1, got 2"),
        ({"shares": [{"up_to_mm": 100.0, "of": {}}]}, "expected shares by rising height, the last for all"),
        ({"folders": 3}, "expected a record of views"),
        ({"folders": []}, "expected a record of views"),
        ({"shares": [{"up_to_mm": None, "of": {"ball": [2, -1]}}]}, "expected a record of views.*shares of ball"),
        ({"shares": [{"up_to_mm": None, "of": {"ball": [0, 0]}}]}, "expected a record of views.*shares of ball"),
        ({"shares": [{"up_to_mm": 10**400, "of": {}}]}, "expected a record of views"),
        (
            {"shares": [{"up_to_mm": None, "of": {"ball": [1, 0]}}]},
            "expected 2 shares per structure, got others for cube",
        ),
    ],
)
def test_damaged_records_are_named(change, message, fused, tmp_path):
    import shutil

    _, output = fused
    shutil.copytree(output, tmp_path / "model")
    record = json.loads((tmp_path / "model" / VIEWS).read_text())
    (tmp_path / "model" / VIEWS).write_text(json.dumps(record | change))
    with pytest.raises(ModelError, match=message):
        open_predictor(tmp_path / "model")
