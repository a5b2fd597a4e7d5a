"""Models that come with the package: found by name, whole, and left as they are."""

import numpy as np
import pytest

from tomoseg.bodies import BodyConfig, make_body, procedural_anatomy
from tomoseg.bodies.config import DiseaseConfig, FieldOfViewConfig
from tomoseg.cli import main
from tomoseg.errors import ModelError
from tomoseg.files.nifti import write_nifti
from tomoseg.inference.segment import segment
from tomoseg.models import packaged
from tomoseg.models.folder import load_model
from tomoseg.models.packaged import CARD, check_is_own, model_folder, packaged_models
from tomoseg.models.tuned import tuning_of
from tomoseg.models.views import is_of_views, load_views, record_of
from tomoseg.options import DEFAULT_MODEL, Request
from tomoseg.volume import SourceGrid

LARGEST_MB = {"head-neck": 10, "body-117": 20}


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
    with pytest.raises(
        ModelError, match=r"abacus: .*\(body-117, head-neck\), found neither; give the folder of a model"
    ):
        load_model(type(tmp_path)("abacus"))
    with pytest.raises(ModelError, match=r"expected a model folder with model.json, found none"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize("name", packaged_models())
def test_each_is_whole_small_and_described(name):
    folder = packaged_models()[name]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < LARGEST_MB[name] * 1e6
    models = load_views(folder)[0] if is_of_views(folder) else (load_model(folder),)
    card = (folder / CARD).read_text(encoding="utf-8")
    assert all(f"| {structure} |" in card for structure in models[0].record.labels.names)
    assert all(model.record.trained_on is not None for model in models)
    assert "tomoseg predict -i CT -o OUT" in card


def test_the_whole_body_is_decided_as_its_bodies_chose():
    """A record of other weights would not be used, and nobody would notice."""
    tuning = tuning_of(packaged_models()["body-117"])
    assert tuning.is_current
    assert set(tuning.found.thresholds.values()) == {0.25}
    assert len(tuning.found.thresholds) == 117
    assert tuning.found.chosen_on["dice_after"] > tuning.found.chosen_on["dice_before"]


def test_head_neck_was_chosen_by_its_validation():
    assert record_of(packaged_models()["head-neck"]).scores["validation_dice"] > 0.7


def test_the_whole_body_is_what_is_used_where_no_model_is_named():
    models, fusion = load_views(packaged_models()[DEFAULT_MODEL])
    assert len(models[0].record.labels) == 117
    assert {model.record.grid.view for model in models} == set(fusion.folders)
    for shares in fusion.shares:
        assert {round(sum(of), 6) for of in shares.of.values()} == {1}
    card = (packaged_models()[DEFAULT_MODEL] / CARD).read_text(encoding="utf-8")
    assert all(
        name in card for name in ("s0000", "s0001", "s0002", "s0004", "s0327", "s0328", "CC BY 4.0", "Wasserthal")
    )


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("no model", encoding="utf-8")
    with pytest.raises(ModelError, match=r"notes\.txt: expected the folder of a model, got a file; give the folder"):
        model_folder(tmp_path / "notes.txt")


def test_one_network_of_several_has_a_name(tmp_path):
    assert load_model(f"{DEFAULT_MODEL}/coronal").record.grid.view == "coronal"
    with pytest.raises(ModelError, match="got a packaged model"):
        check_is_own(packaged_models()[DEFAULT_MODEL] / "axial")


@pytest.mark.parametrize("name", packaged_models())
def test_they_are_not_changed(name, tmp_path):
    with pytest.raises(ModelError, match="expected your own model folder, got a packaged model; copy"):
        check_is_own(packaged_models()[name])
    check_is_own(tmp_path)


def test_the_whole_body_is_found_in_bodies_of_an_unseen_anatomy():
    """A procedural body of a seed that no recipe takes, on its back with air in its lungs, on voxels of 3 mm."""
    lungs = DiseaseConfig(effusion_share=0, airless_share=0, patches_share=0)
    whole = BodyConfig(
        disease=lungs, view=FieldOfViewConfig(whole_share=1, narrow_share=0, side_share=0, oblique_share=0)
    )
    body = make_body(procedural_anatomy(900_001), 900_001, whole, (3.0, 3.0, 4.0))
    found = segment(body.volume, request=Request(roi_subset=("liver", "lung_lower_lobe_left", "hip_left", "hip_right")))
    for name in found.labels.names:
        mask, there = found.mask(name), body.numbers == body.labels.channel(name) + 1
        assert 2 * np.count_nonzero(mask & there) / (mask.sum() + there.sum()) > 0.7, name


def test_it_segments_a_scan_and_says_that_it_is_no_head(tmp_path, capsys):
    rng = np.random.default_rng(0)
    hu = rng.integers(-100, 100, (40, 40, 12)).astype(np.int16)
    hu[:8] = -1000
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.diag([1.0, 1.0, 1.0, 1.0])))
    assert main(["predict", "-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out"), "-m", "head-neck"]) == 0
    assert (tmp_path / "out" / "mandible.nii.gz").is_file()
    assert (
        "The scan measures 40 mm from left to right, 40 mm from back to front, 12 mm from feet to head; the model was"
        in capsys.readouterr().err
    )


def test_the_list_and_the_card(capsys):
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "head-neck" in listed
    assert "body-117" in listed
    assert main(["models", "head-neck"]) == 0
    assert "Where it must not be used" in capsys.readouterr().out
    assert main(["models", "head"]) == 2


def test_without_any_there_is_an_empty_list(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged.resources, "files", lambda package: tmp_path)
    assert packaged_models() == {}
