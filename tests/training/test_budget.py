"""What is used of a budget."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.tiny import make_config
from tomoseg.training import budget as module
from tomoseg.training.budget import Budget, Clock, TrainingProgress
from tomoseg.training.ranks import ALONE


def budget(**limits):
    return Budget(
        **{"epochs": None, "steps": None, "minutes": None, "early_stopping": None, **limits}, steps_per_epoch=4
    )


@pytest.mark.parametrize(
    ("limits", "at", "used"),
    [
        ({"epochs": 5}, {"epoch": 2, "step": 2}, 0.5),
        ({"steps": 16}, {"epoch": 2, "step": 2}, 10 / 16),
        ({"minutes": 10.0}, {"minutes": 4.0, "validation_minutes": 2.0}, 0.5),  # the last validation needs 2 of the 10
        ({"epochs": 5, "steps": 100}, {"epoch": 2}, 0.4),  # what is used up first
        ({"epochs": 5, "steps": 10}, {"epoch": 2}, 0.8),
        ({}, {"epoch": 25}, 0.25),  # of a hundred
        ({"epochs": 5}, {"epoch": 9}, 1.0),
    ],
)
def test_progress(limits, at, used):
    assert budget(**limits).progress(TrainingProgress(**at)) == pytest.approx(used)


def test_training_stalls_after_so_many_validations_without_a_better_dice():
    dice = [0.5, None, 0.7, 0.7, 0.6]
    history = [{"validation_dice": value} for value in dice]
    assert budget(early_stopping=2).stalled(TrainingProgress(history=history))
    assert not budget(early_stopping=3).stalled(TrainingProgress(history=history))
    assert not budget(early_stopping=2).stalled(TrainingProgress(history=history[:4]))
    assert not budget(early_stopping=1).stalled(TrainingProgress())
    assert not budget().stalled(TrainingProgress(history=history))


def test_training_is_finished_between_epochs_only():
    assert budget(epochs=2).finished(TrainingProgress(epoch=2))
    assert not budget(epochs=2).finished(TrainingProgress(epoch=2, step=1))  # its validation is still to come
    assert not budget(epochs=2).finished(TrainingProgress(epoch=1))


def test_an_epoch_is_as_many_steps_as_its_slices_fill():
    # 3 cases give 12 slices: two steps of 8 and 4.
    assert Budget.of(make_config(accumulation=2), 3).steps_per_epoch == 2


def test_a_clock_adds_up_what_passes(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    ours, run = Clock(ALONE, torch.device("cpu")), TrainingProgress(minutes=1.0)
    for seconds in (30, 90):
        clock.now += seconds
        ours.tick(run)
    assert run.minutes == pytest.approx(3)
