"""Callbacks of training, and its outcome. Nothing here imports PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Beginning:
    """What listeners receive before the first step.

    Attributes:
        facts: Facts of the run by name: dataset, numbers of cases and parameters.
        environment: Versions, device and precision.
        history: One record per epoch of former calls.
        budget: Limits of training in words.
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
    """Callbacks that follow training and may end it early.

    Attributes:
        on_step: Called after each step.
        on_epoch: Called with each epoch's record, once its state is saved.
        on_validated: Called with the number of cases scored so far and the total number.
        should_stop: Called after each step and between validation cases; a run that is stopped can be resumed there.
        waiting: Makes the context in which training waits for slices or validates; a wish to stop may end it by a
            `KeyboardInterrupt`, and the run can be resumed there too.
        on_warning: Called with warnings about the dataset before the first step, and about the result at the end.
        on_begin: Called before the first step with facts about the run and its history.
        on_stage: Called with a description before work other than steps that takes a while.
        on_count: Called with how many parts of such work are done and their total.
        on_part: Called before each network of a run of several with its name in words.
    """

    on_step: Callable[[StepReport], None] = lambda step: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None
    on_validated: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext
    on_warning: Callable[[str], None] = lambda message: None
    on_begin: Callable[[Beginning], None] = lambda beginning: None
    on_stage: Callable[[str], None] = lambda stage: None
    on_count: Callable[[int, int], None] = lambda done, total: None
    on_part: Callable[[str], None] = lambda part: None


@dataclass(frozen=True)
class TrainingOutcome:
    """Outcome of a run.

    Attributes:
        finished: False if it was stopped early and can be resumed.
        history: One record per epoch.
        best_dice: Best mean validation Dice; None without validation cases. For folds it is the mean over them, for
            views that of their fusion, over the voxels of all cases.
        folds: Best mean validation Dice of each fold; None if it is no cross-validation.
        views: Best mean validation Dice of each view; None for a single view.
    """

    finished: bool
    history: list[dict[str, Any]]
    best_dice: float | None
    folds: tuple[float | None, ...] | None = None
    views: dict[str, float | None] | None = None


def is_first_process() -> bool:
    """Return True in the process that writes files and messages, of those that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"
