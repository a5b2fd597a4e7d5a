"""What is drawn of a run, and when."""

import re

import pytest

from tests.training.tiny import LABELS, make_config, make_dataset
from tomoseg.training.listener import Beginning, Listener
from tomoseg.workflows import course, looks
from tomoseg.workflows.course import course_beside
from tomoseg.workflows.train import train_run


@pytest.fixture
def drawn(monkeypatch):
    """The epochs of each drawing, and the facts of the last page."""
    calls = []
    monkeypatch.setattr(course, "draw_history", lambda history, path, lang: None)

    def page(history, labels, config, facts, curves, path, noticed):
        calls.append(([record["epoch"] for record in history], dict(facts)))

    monkeypatch.setattr(course, "write_run_page", page)
    return calls


def test_it_is_drawn_after_each_validation_and_before_the_first_after_each_epoch(drawn, tmp_path):
    told = []
    listener = course_beside(Listener(on_epoch=told.append, on_begin=told.append), tmp_path, LABELS, make_config())
    beginning = Beginning({"dataset": "here"}, {"device": "cpu"}, [{"epoch": 1}])
    listener.on_begin(beginning)
    epochs = [{"epoch": 2}, {"epoch": 3, "validation_loss": 1.0}, {"epoch": 4}, {"epoch": 5, "validation_loss": 0.5}]
    for record in epochs:
        listener.on_epoch(record)
    assert [shown for shown, _ in drawn] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5]]
    assert told == [beginning, *epochs]


def test_it_is_drawn_when_resumed_up_to_the_last_validation(drawn, tmp_path):
    """The call that saved the state may have ended before it was drawn."""
    epochs = [{"epoch": 1}, {"epoch": 2, "validation_loss": 1.0, "curriculum_share": 0.5}, {"epoch": 3}]
    for history in ([], epochs):
        listener = course_beside(Listener(), tmp_path, LABELS, make_config())
        listener.on_begin(Beginning({"dataset": "here"}, {"device": "cpu"}, history))
    expected = {"dataset": "here", "curriculum": "50% of the slices", "device": "cpu"}
    assert drawn == [([1, 2], expected)]


def all_drawn(run):
    """Pictures, and the page without its duration."""
    page = re.sub(r"[0-9.]+ minutes", "", (run / "summary.html").read_text(encoding="utf-8"))
    return page, {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.png"))}


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [(course, "draw_history", 2), (course, "write_run_page", 2), (looks, "draw_panel", 1)],
)
def test_what_an_interruption_kept_from_being_drawn_is_drawn_when_resumed(tmp_path, monkeypatch, module, name, calls):
    """An epoch that is saved is not trained again, the last one least of all."""
    make_dataset(tmp_path / "data")
    config = make_config(epochs=2, pictures=("ball",))
    train_run(tmp_path / "data", tmp_path / "whole" / "run", config)
    draw, left = getattr(module, name), iter(range(calls - 1))

    def interrupted(*given, **named):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return draw(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_run(tmp_path / "data", tmp_path / "parts" / "run", config)
    assert train_run(tmp_path / "data", tmp_path / "parts" / "run", config).finished
    expected = all_drawn(tmp_path / "whole" / "run")
    assert {"history.png", "pictures/ball/0001.png"} <= set(expected[1])
    assert all_drawn(tmp_path / "parts" / "run") == expected


def test_the_page_says_what_the_run_is_and_what_it_runs_on(drawn, tmp_path):
    listener = course_beside(Listener(), tmp_path, LABELS, make_config())
    listener.on_begin(Beginning({"dataset": "here"}, {"device": "cpu"}, []))
    listener.on_epoch({"epoch": 1, "curriculum_share": 0.25})
    listener.on_epoch({"epoch": 2, "curriculum_share": 1.0})
    said = [facts for _, facts in drawn]
    assert [facts["curriculum"] for facts in said] == ["25% of the slices", "100% of the slices"]
    assert list(said[0]) == ["dataset", "curriculum", "device"]
