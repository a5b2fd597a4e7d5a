"""The parts of the demonstration that are quick; the whole of it takes minutes."""

import signal

import pytest

from tests.training.tiny import LABELS, make_dataset
from tomoseg.labels import LabelSet
from tomoseg.terminal.stopping import stop_on_signal
from tomoseg.training.listener import Listener, TrainingOutcome
from tomoseg.workflows import demo as demo_module
from tomoseg.workflows.demo import SHOWN, demo, score_baselines, show_packaged


def test_baselines_are_scored_on_the_test_cases(tmp_path):
    splits = {"a": "train", "b": "train", "c": "train", "t": "test", "u": "test"}
    found = score_baselines(make_dataset(tmp_path, splits=splits, annotated={}))
    assert set(found) == {"HU threshold", "mean-position atlas"}
    threshold = found["HU threshold"]
    assert threshold.cases == 2
    assert [row.n for row in threshold.structures] == [2, 2, 2]
    # Ball and cube have a grey of their own, which an atlas cannot see.
    assert {row.structure for row in threshold.structures if row.dice > 0.95} >= {"ball", "cube"}
    assert found["mean-position atlas"].dice < threshold.dice
    assert [row.structure for row in threshold.structures] == list(LABELS.names)


def test_what_is_drawn_are_structures_of_phantoms():
    assert set(SHOWN) <= set(LabelSet.total().names)


def test_a_demo_that_is_stopped_ends_there(tmp_path, monkeypatch):
    said = []
    for name in ("make_dataset", "preprocess"):
        monkeypatch.setattr(demo_module, name, lambda *args, **callbacks: None)
    monkeypatch.setattr(demo_module, "train_run", lambda *args: TrainingOutcome(False, [], None))
    monkeypatch.setattr(demo_module, "evaluate", lambda *args: pytest.fail("went on"))
    assert demo(tmp_path, 0, said.append, Listener()) is None
    assert [line.split()[0] for line in said] == ["Generating", "Preprocessing", "Training"]


@pytest.mark.parametrize(
    "stage", ["make_dataset", "preprocess", "tune", "evaluate", "score_baselines", "show_packaged"]
)
def test_ctrl_c_in_each_stage_ends_it_at_once(tmp_path, monkeypatch, stage):
    done = []

    def ran(name):
        def stand_in(*args, **callbacks):
            done.append(name)
            if name == stage:
                signal.raise_signal(signal.SIGINT)
                pytest.fail("went on")

        return stand_in

    stages = ["make_dataset", "preprocess", "tune", "evaluate", "score_baselines", "_draw", "show_packaged"]
    for name in stages:
        monkeypatch.setattr(demo_module, name, ran(name))
    monkeypatch.setattr(demo_module, "Preprocessed", lambda folder: None)
    monkeypatch.setattr(demo_module, "train_run", lambda *args: TrainingOutcome(True, [], None))
    with stop_on_signal() as stop, pytest.raises(KeyboardInterrupt):
        demo(tmp_path, 0, lambda line: None, Listener(should_stop=stop, waiting=stop.at_once))
    assert done == stages[: stages.index(stage) + 1]


@pytest.mark.slow
def test_the_packaged_model_is_shown_on_a_made_body(tmp_path):
    shown = show_packaged(tmp_path / "pictures" / "body.png", seed=1)
    assert shown.picture.stat().st_size > 50_000
    assert shown.there > 60
    assert shown.structures > 0.8 * shown.there
    assert 0.4 < shown.dice < 1
    again = show_packaged(tmp_path / "again.png", seed=1)
    assert again.dice == shown.dice
