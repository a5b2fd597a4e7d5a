"""What is drawn of a run, and when."""

import pytest

from tests.training.tiny import LABELS, make_config
from tomoseg.training.listener import Beginning, Listener
from tomoseg.workflows import course
from tomoseg.workflows.course import course_beside


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
    assert [shown for shown, _ in drawn] == [[1, 2], [1, 2, 3], [1, 2, 3, 4, 5]]
    assert told == [beginning, *epochs]


def test_the_page_says_what_the_run_is_and_what_it_runs_on(drawn, tmp_path):
    listener = course_beside(Listener(), tmp_path, LABELS, make_config())
    listener.on_begin(Beginning({"dataset": "here"}, {"device": "cpu"}, []))
    listener.on_epoch({"epoch": 1, "curriculum_share": 0.25})
    listener.on_epoch({"epoch": 2, "curriculum_share": 1.0})
    said = [facts for _, facts in drawn]
    assert [facts["curriculum"] for facts in said] == ["25% of the slices", "100% of the slices"]
    assert list(said[0]) == ["dataset", "curriculum", "device"]
