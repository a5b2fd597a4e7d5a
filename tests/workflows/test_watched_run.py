"""What is seen of a run while it writes."""

import json
import os

import pytest

from tomoseg.config import TrainConfig
from tomoseg.errors import ConfigError, InputError
from tomoseg.models.folds import Folds, save_folds
from tomoseg.settings import save_config
from tomoseg.training import run_folder
from tomoseg.workflows import watched_run
from tomoseg.workflows.watched_run import RunPart, find_run, look_at, state_of

FIRST = '{"epoch": 1, "train_loss": 0.5, "minutes": 2.0, "minutes_left": 4.0}\n'


def make_run(folder, text=None, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    save_config(TrainConfig(**settings), folder / "config.yaml")
    if text is not None:
        (folder / "metrics.jsonl").write_text(text)
        os.utime(folder / "metrics.jsonl", (1000, 1000))
    return folder


def test_files_are_called_as_training_calls_them():
    for name in ("CONFIG", "METRICS", "LAST"):
        assert getattr(watched_run, name) == getattr(run_folder, name)


def test_a_run_is_known_by_its_settings(tmp_path):
    run = find_run(make_run(tmp_path / "run"))
    assert (run.title, run.parts) == ("run", (RunPart("", tmp_path / "run"),))
    assert find_run(tmp_path) is None
    assert find_run(tmp_path / "none") is None


def test_folds_and_views_are_parts(tmp_path):
    save_folds(Folds(2, {"a": 1, "b": 2}), make_run(tmp_path / "folds", folds=2))
    make_run(tmp_path / "folds" / "fold-1", folds=2)
    assert [part.name for part in find_run(tmp_path / "folds").parts] == ["fold-1", "fold-2"]
    assert [part.name for part in find_run(tmp_path / "folds" / "fold-1").parts] == [""]
    views = find_run(make_run(tmp_path / "views", views=("axial", "coronal")))
    assert views.parts[1] == RunPart("coronal", tmp_path / "views" / "coronal")
    assert look_at(views.parts[1]).state == "waiting"


def test_what_is_no_run_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(FIRST)
    with pytest.raises(InputError, match=r"expected a run folder with its config.yaml, got one without; copy it"):
        find_run(tmp_path)
    (tmp_path / "config.yaml").write_text("colour: red")
    with pytest.raises(ConfigError, match="colour"):
        find_run(tmp_path)


def test_a_line_that_is_being_written_is_waited_for(tmp_path):
    part = RunPart("", make_run(tmp_path, ""))
    assert look_at(part, 1000) == look_at(RunPart("", tmp_path / "none"))
    path = tmp_path / "metrics.jsonl"
    for cut in (1, 20, len(FIRST) - 1):
        path.write_text(FIRST[:cut])
        assert look_at(part).state == "waiting"
        path.write_text(FIRST + FIRST[:cut])
        assert len(look_at(part).epochs) == 1
    path.write_text(FIRST)
    os.utime(path, (1000, 1000))
    seen = look_at(part, 1060)
    record = {"epoch": 1, "train_loss": 0.5, "minutes": 2.0, "minutes_left": 4.0, "dice": {}}
    assert (seen.state, seen.epochs, seen.written, seen.odd_lines) == ("running", (record,), 1000, ())


def test_an_epoch_that_comes_twice_is_as_it_was_last_and_odd_lines_are_named(tmp_path):
    lines = [
        '{"epoch": 2, "train_loss": 0.4}',
        '{"epoch": 1, "train_loss": NaN, "dice": {"liver": 0.5, "spleen": null, "odd": "x"}, "note": "text"}',
        "no json",
        "[1]",
        '{"epoch": 2, "train_loss": 0.3, "learning_rate": Infinity}',
        "",
    ]
    seen = look_at(RunPart("", make_run(tmp_path, "\n".join(lines))), 1000)
    assert list(seen.epochs) == [
        {"epoch": 1, "train_loss": None, "dice": {"liver": 0.5, "spleen": None}},
        {"epoch": 2, "train_loss": 0.3, "learning_rate": None, "dice": {}},
    ]
    assert seen.odd_lines == (3, 4)
    json.dumps(seen.epochs, allow_nan=False)


@pytest.mark.parametrize(
    ("minutes", "left", "since", "state"),
    [
        ([], 0, 0, "waiting"),
        ([2.0, 4.0], 4.0, 9.0, "running"),
        ([2.0, 4.0], 4.0, 11.0, "quiet"),  # ten minutes, though its epochs take two
        ([30.0, 40.0], 80.0, 80.0, "running"),
        ([30.0, 40.0], 80.0, 91.0, "quiet"),  # three of the longest, which took thirty
        ([2.0, 4.0], 0.0, 999.0, "finished"),
        ([2.0, 4.0], None, 999.0, "quiet"),  # a run of before does not say
    ],
)
def test_the_state_of_a_run(minutes, left, since, state):
    epochs = [{"epoch": n, "minutes": one, "minutes_left": left} for n, one in enumerate(minutes, start=1)]
    assert state_of(tuple(epochs), since) == state
