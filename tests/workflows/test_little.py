import numpy as np
import pytest

from tests.training.tiny import NATIVE, add_case, finish, make_dataset, make_scan
from tomoseg.config import TRAIN_PRESETS, GridConfig, NetworkConfig
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.listener import Listener
from tomoseg.workflows.little import why_little_was_found
from tomoseg.workflows.train import train_run

CONFIG = TRAIN_PRESETS["default"]


def record(dice, **more):
    names = ("ball", "cube", "both")
    return {"epoch": 1, "minutes": 3.0, "steps": 2, "validation_dice": dice, "dice": dict.fromkeys(names, dice), **more}


def test_a_good_run_hears_nothing(tmp_path):
    assert why_little_was_found(make_dataset(tmp_path), CONFIG, [record(0.8)]) == []


def test_without_validation_nothing_is_known(tmp_path):
    assert why_little_was_found(make_dataset(tmp_path), CONFIG, [{"epoch": 1, "minutes": 1.0, "steps": 1}]) == []


def test_steps_of_all_epochs_count(tmp_path):
    history = [{"epoch": 1, "minutes": 2.0, "steps": 5}, record(0.01)]
    lines = why_little_was_found(make_dataset(tmp_path), CONFIG, history)
    assert lines[1].startswith(
        "7 steps saw 56 slices, and some 6450 are wanted for 3 structures: go on to about 806 steps"
    )


def test_records_from_before_steps_were_kept(tmp_path):
    """Three cases with 10 draws each make 4 steps of 8."""
    history = [{"epoch": 1, "minutes": 2.0, "validation_dice": 0.0, "dice": {}}]
    assert "4 steps saw 32 slices" in why_little_was_found(make_dataset(tmp_path), CONFIG, history)[1]


@pytest.mark.parametrize("view", ["axial", "coronal"])
def test_a_grid_much_finer_than_the_scans(tmp_path, view):
    """Scans of 1 mm on 0.5 mm."""
    grid = GridConfig(spacing_mm=0.5, crop="none", view=view)
    for seed, name in enumerate("av"):
        hu, masks = make_scan(seed)
        add_case(tmp_path, name, hu, masks, grid, native=name == "v")
    data = finish(tmp_path, {"a": "train", "v": "validation"}, grid=grid)
    lines = why_little_was_found(data, CONFIG, [record(0.0)])
    assert any(
        "the grid has pixels of 0.5 mm where the scans have 1 mm: each step takes about 4 times" in s for s in lines
    )


def test_a_structure_that_is_never_there(tmp_path):
    for seed, name in enumerate("av"):
        hu, masks = make_scan(seed)
        masks = masks if name == "v" else np.stack([masks[0], masks[1] & False, masks[2]])
        add_case(tmp_path, name, hu, masks, NATIVE, native=name == "v")
    finish(tmp_path, {"a": "train", "v": "validation"})
    lines = why_little_was_found(Preprocessed(tmp_path), CONFIG, [record(0.0)])
    assert lines[1].startswith("no training case holds cube: annotate some")


def test_a_run_tells_it_at_its_end(tmp_path):
    data = make_dataset(tmp_path / "data")
    network = NetworkConfig(channels=(8, 16))
    config = CONFIG.model_copy(update={"network": network, "steps": 1, "workers": 0, "export": False})
    lines = []
    train_run(data.folder, tmp_path / "run", config, Listener(on_warning=lines.append))
    assert any(line.startswith("this run found") for line in lines)
    assert any("1 step saw 8 slices, and some 6450 are wanted" in line for line in lines)
