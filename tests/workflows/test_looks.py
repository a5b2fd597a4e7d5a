"""Pictures of chosen structures while a run trains."""

import json

import numpy as np
import pytest
import torch

from tests.training.tiny import make_config, make_dataset, make_scan
from tomoseg.errors import ConfigError
from tomoseg.models.folder import load_model
from tomoseg.workflows import looks
from tomoseg.workflows.train import train_run
from tomoseg.workflows.watched_run import pictures_in

TIMES = {"minutes", "minutes_left", "slices_per_second"}


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def test_each_best_model_is_drawn_and_nothing_is_learned_otherwise(tmp_path, monkeypatch):
    drawn = []

    def draw(hu, reference, predicted, structure, spacing_mm, path, lang):
        drawn.append((structure, hu, reference, predicted, spacing_mm))
        path.write_bytes(b"")

    monkeypatch.setattr(looks, "draw_panel", draw)
    make_dataset(tmp_path / "data")
    config = make_config(epochs=6)
    train_run(tmp_path / "data", tmp_path / "plain", config)
    assert not (tmp_path / "plain" / "pictures").exists()
    run = tmp_path / "run"
    train_run(tmp_path / "data", run, config.model_copy(update={"pictures": ("cube", "ball")}))
    assert metrics(run) == metrics(tmp_path / "plain")
    ours, theirs = (load_model(one).network.state_dict() for one in (run, tmp_path / "plain"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    dice, best = [one["validation_dice"] for one in metrics(run)], []
    for epoch, value in enumerate(dice, start=1):
        if all(value > before for before in dice[: epoch - 1]):
            best.append(epoch)
    assert pictures_in(run) == {"ball": tuple(best), "cube": tuple(best)}

    assert [one[0] for one in drawn[:2]] == ["cube", "ball"]
    hu, masks = make_scan(3)  # of case v, the first of the validation
    _, shown, reference, predicted, spacing_mm = drawn[-1]
    k = int(masks[0].sum(axis=(0, 1)).argmax())
    np.testing.assert_array_equal(shown, hu[:, :, k])
    np.testing.assert_array_equal(reference, masks[0][:, :, k])
    assert predicted.shape == reference.shape
    assert tuple(spacing_mm) == (1.0, 1.0)


def test_a_structure_that_is_not_learned_is_refused_before_anything_is_written(tmp_path):
    make_dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"pictures: expected one of 3 known names, got 'bal'; did you mean 'ball'"):
        train_run(tmp_path / "data", tmp_path / "run", make_config(pictures=("bal",)))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_picture_is_drawn_where_the_page_looks_for_it(tmp_path):
    make_dataset(tmp_path / "data")
    train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=1, pictures=("ball",)))
    assert pictures_in(tmp_path / "run") == {"ball": (1,)}
    assert (tmp_path / "run" / "pictures" / "ball" / "0001.png").read_bytes().startswith(b"\x89PNG")
