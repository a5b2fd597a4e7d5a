"""Who is told how training goes. Nothing here needs torch."""

from __future__ import annotations

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
    """

    facts: dict[str, object]
    environment: dict[str, object]
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """Told after each step of the optimiser."""

    epoch: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    slices_per_second: float
    minutes: float
    dice: float | None


@dataclass(frozen=True)
class Listener:
    """Who is told how training goes, and who may end it early.

    Attributes:
        on_step: Called after each step.
        on_epoch: Called with each epoch's line of metrics, once its state is saved.
        on_validated: Called with cases scored so far and in all.
        should_stop: Asked after each step; a run that is stopped resumes where it was.
        on_warning: Called with what is odd about the dataset before the first step, and what is missing at the end.
        on_begin: Called before the first step with what the run is and how far it has come.
    """

    on_step: Callable[[Step], None] = lambda step: None
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None
    on_validated: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    on_warning: Callable[[str], None] = lambda message: None
    on_begin: Callable[[Beginning], None] = lambda beginning: None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        finished: False if it was stopped early and can be resumed.
        history: One record an epoch.
        best_dice: Best mean validation Dice; None without validation cases.
    """

    finished: bool
    history: list[dict[str, Any]]
    best_dice: float | None
