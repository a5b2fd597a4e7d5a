"""Models that come with the package: found by name, whole, and left as they are."""

import numpy as np
import pytest

from tomoseg.cli import main
from tomoseg.errors import ModelError
from tomoseg.files.nifti import write_nifti
from tomoseg.models import packaged
from tomoseg.models.folder import load_model
from tomoseg.models.packaged import CARD, check_is_own, model_folder, packaged_models
from tomoseg.volume import SourceGrid

LARGEST_MB = 10


def test_a_folder_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, folder = next(iter(packaged_models().items()))
    assert model_folder(type(tmp_path)(name)) == folder
    (tmp_path / name).mkdir()
    assert model_folder(type(tmp_path)(name)) == type(tmp_path)(name)


def test_an_unknown_name_is_told_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError, match=r"head-nek: expected a model folder with .* found neither; did you mean 'head-neck'"
    ):
        load_model(type(tmp_path)("head-nek"))
    with pytest.raises(ModelError, match=r"abacus: .*\(head-neck\), found neither; give the folder of a model"):
        load_model(type(tmp_path)("abacus"))
    with pytest.raises(ModelError, match=r"expected a model folder with model.json, found none"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize("name", packaged_models())
def test_each_is_whole_small_and_described(name):
    folder = packaged_models()[name]
    model = load_model(folder)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < LARGEST_MB * 1e6
    card = (folder / CARD).read_text(encoding="utf-8")
    assert all(f"| {structure} |" in card for structure in model.record.labels.names)
    assert f"-m {name}" in card
    assert model.record.trained_on is not None
    assert model.record.scores["validation_dice"] > 0.5


def test_it_is_not_changed(tmp_path):
    folder = next(iter(packaged_models().values()))
    with pytest.raises(ModelError, match="expected a model folder of your own, got a packaged model; copy"):
        check_is_own(folder)
    check_is_own(tmp_path)


def test_it_segments_a_scan_and_says_that_it_is_no_head(tmp_path, capsys):
    rng = np.random.default_rng(0)
    hu = rng.integers(-100, 100, (40, 40, 12)).astype(np.int16)
    hu[:8] = -1000
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.diag([1.0, 1.0, 1.0, 1.0])))
    assert main(["predict", "-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out"), "-m", "head-neck"]) == 0
    assert (tmp_path / "out" / "mandible.nii.gz").is_file()
    assert (
        "The scan measures 40 mm from left to right and from back to front, 12 mm from feet to head; the model was"
        in capsys.readouterr().err
    )


def test_the_list_and_the_card(capsys):
    assert main(["models"]) == 0
    assert "head-neck" in capsys.readouterr().out
    assert main(["models", "head-neck"]) == 0
    assert "Where it must not be used" in capsys.readouterr().out
    assert main(["models", "head"]) == 2


def test_without_any_there_is_an_empty_list(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged.resources, "files", lambda package: tmp_path)
    assert packaged_models() == {}
