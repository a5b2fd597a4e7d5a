import hashlib
import json

import pytest
import torch

from tests.nnunet_files import Made, weights_of, write_training
from tomoseg.cli import main
from tomoseg.errors import ModelError, OutputError
from tomoseg.models.folder import load_model
from tomoseg.models.nnunet.source import PLANS
from tomoseg.models.views import load_views, record_of
from tomoseg.workflows.import_model import import_model


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    reference = {"reference": "Somebody (2024). A paper.", "licence": "CC BY 4.0", "description": "Made"}
    return write_training(folder, Made(mirrored=(1,), dataset=reference), folds=("0", "3"))


def test_a_model_says_all_that_it_depends_on(training, tmp_path):
    made = import_model(training, tmp_path / "model", folds=("3",))
    model = load_model(tmp_path / "model")
    assert made.exported == (tmp_path / "model" / "openvino" / "fp32" / "model.xml").is_file()
    assert {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()} <= {
        *(".json", ".safetensors", ".xml", ".bin"),
    }
    assert (model.record.plan.patch, model.record.plan.mirrored) == ((8, 16, 16), (1,))
    assert model.record.network.channels == (6, 8, 10)
    provenance = model.record.provenance
    assert (provenance["fold"], provenance["trainer"], provenance["licence"]) == ("3", "nnUNetTrainer", "CC BY 4.0")
    assert provenance["citations"][1] == "Somebody (2024). A paper."
    digest = hashlib.sha256((training / PLANS).read_bytes()).hexdigest()
    assert provenance["source_sha256"][PLANS] == digest
    assert provenance["source_sha256"].keys() == {PLANS, "dataset.json", "checkpoint_final.pth"}


def test_several_folds_are_several_networks_that_count_alike(training, tmp_path, monkeypatch):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
    import_model(training, tmp_path / "model")
    models, fusion = load_views(tmp_path / "model")
    assert fusion.folders == ("fold_0", "fold_3")
    assert fusion.shares == ()
    assert record_of(tmp_path / "model").provenance["licence"] == "CC BY 4.0"
    assert models[0].sha256 != models[1].sha256


def test_a_licence_may_be_given_or_lie_beside_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)  # an export takes seconds
    folder = write_training(tmp_path / "nn")
    assert import_model(folder, tmp_path / "a").provenance["licence"] == "not stated"
    (folder / "LICENSE").write_text("Apache-2.0\nmore")
    assert import_model(folder, tmp_path / "b").provenance["licence"] == "Apache-2.0\nmore"
    assert import_model(folder, tmp_path / "c", licence="mine").provenance["licence"] == "mine"


def test_nothing_is_left_of_an_import_that_failed(training, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tomoseg.workflows.import_model.export", interrupted)
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: True)
    with pytest.raises(KeyboardInterrupt):
        import_model(training, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_already_are_kept(training, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="expected a new or empty folder"):
        import_model(training, tmp_path / "model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


def test_folds_of_two_trainings_are_refused(tmp_path):
    folder = write_training(tmp_path / "nn", folds=("0", "1"))
    path = folder / "fold_1" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"]["configuration"] = "2d"
    torch.save(content, path)
    with pytest.raises(ModelError, match="fold 1 of configuration 2d, the first of 3d_fullres"):
        import_model(folder, tmp_path / "model")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    weights = weights_of(Made())
    weights["decoder.transpconvs.0.bias"][0] = float("nan")
    folder = write_training(tmp_path / "nn", Made(checkpoint={"network_weights": weights}))
    with pytest.raises(
        ModelError, match=r"final\.pth: expected .*got NaN or infinity in decoder\.transpconvs\.0\.bias"
    ):
        import_model(folder, tmp_path / "model")


def test_mirrored_axes_that_there_are_not_are_refused(tmp_path):
    folder = write_training(tmp_path / "nn", Made(mirrored=(0, 5)))
    with pytest.raises(ModelError, match="mirrored axes from 0 to 2 in the checkpoint, got 0, 5"):
        import_model(folder, tmp_path / "model")


def test_the_command_says_what_it_made_and_what_to_do_next(training, tmp_path, capsys):
    assert main(["import", str(training), "-o", str(tmp_path / "model"), "--folds", "0"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 structures, plain conv unet in 3 dimensions, voxels of 3 x 2 x 2 mm, fold 0" in printed
    assert "licence: CC BY 4.0" in printed
    assert "cite: Somebody (2024). A paper." in printed
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert record["plan"]["decision"] == "exclusive"
    assert main(["models", str(tmp_path / "model")]) == 0
    assert "CC BY 4.0" in capsys.readouterr().out


def test_folds_that_are_left_out_and_images_that_are_no_ct_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
    folder = write_training(tmp_path / "nn", Made(dataset={"channel_names": {"0": "T2"}}), folds=("0", "1"))
    (folder / "fold_1" / "checkpoint_final.pth").unlink()
    assert main(["import", str(folder), "-o", str(tmp_path / "model")]) == 0
    printed = capsys.readouterr().out
    assert "left out: fold 1, which has no such checkpoint or no number (name it with --folds)\n" in printed
    assert "image: T2 according to dataset.json; scans are read as CT" in printed
    assert load_model(tmp_path / "model").record.provenance["image"] == "T2"


def test_scans_are_turned_where_the_makers_turn_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
    training = write_training(tmp_path / "nn")
    for flags, axes, words in (([], "file", "as in the scan's file"), (["--reorient"], "ras", "is reoriented to RAS")):
        model = tmp_path / axes
        assert main(["import", str(training), "-o", str(model), *flags]) == 0
        assert load_model(model).record.plan.axes == axes
        assert main(["models", str(model)]) == 0
        assert words in capsys.readouterr().out


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    assert main(["import", str(tmp_path), "-o", str(tmp_path / "model")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a training of nnU-Net v2" in line
