"""Who is told how training goes. Nothing here needs torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Beginning:
    """Told before the first step.

    Attributes:
        facts: What the run is about, by name: its dataset, its numbers of cases and parameters.
        environment: What it runs on: versions, device, precision.
        history: One record for each epoch of former calls.
        budget: How long it is to go on, in words.
    """

    facts: dict[str, object]
    environment: dict[str, object]
    history: list[dict[str, Any]]
    budget: str = ""


@dataclass(frozen=True)
class StepReport:
    """What listeners receive after each optimiser step.

    Attributes:
        epoch: Number of the epoch, from 1.
        step: Number of the step in its epoch, from 1.
        steps: Number of steps per epoch.
        loss: Loss of this step.
        learning_rate: Learning rate of this step.
        slices_per_second: Throughput of this step.
        minutes: Minutes of training so far, those of earlier calls included.
        dice: Best mean validation Dice so far; None before the first validation.
        progress: Share of the budget that is used, 0 to 1.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    slices_per_second: float
    minutes: float
    dice: float | None
    progress: float = 0.0


@dataclass(frozen=True)
class Listener:
    """Who is told how training goes, and who may end it early.

    Attributes:
        on_step: Called after each step.
        on_epoch: Called with each epoch's line of metrics, once its state is saved.
        on_validated: Called with cases scored so far and in all.
        should_stop: Called after each step; a run that is stopped resumes where it was.
        on_warning: Called with what is odd about the dataset before the first step, and what is missing at the end.
        on_begin: Called before the first step with what the run is and how far it has come.
        on_stage: Called with what is done now, before that which takes a while and is no step.
        on_part: Called before each network of a run of several with which it is, in words.
    """

    on_step: Callable[[StepReport], None] = lambda step: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None
    on_validated: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    on_warning: Callable[[str], None] = lambda message: None
    on_begin: Callable[[Beginning], None] = lambda beginning: None
    on_stage: Callable[[str], None] = lambda stage: None
    on_part: Callable[[str], None] = lambda part: None


@dataclass(frozen=True)
class TrainingOutcome:
    """How a run ended.

    Attributes:
        finished: False if it was stopped early and can be resumed.
        history: One record an epoch.
        best_dice: Best mean validation Dice; None without validation cases; of folds the mean over them, of views that
            of all of them together, over the voxels of all cases.
        folds: Of each fold its best mean validation Dice; None for a run that is none of folds.
        views: The same of each view; None for a run that is none of views.
    """

    finished: bool
    history: list[dict[str, Any]]
    best_dice: float | None
    folds: tuple[float | None, ...] | None = None
    views: dict[str, float | None] | None = None


def is_first_process() -> bool:
    """Whether this process is the one that writes and speaks, of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"
