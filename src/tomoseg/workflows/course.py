"""Plots of a training run in progress: `history.png` and `summary.html` in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tomoseg.config import TrainConfig
from tomoseg.labels import LabelSet
from tomoseg.notices import Notice
from tomoseg.pictures.history import draw_history
from tomoseg.pictures.run_page import write_run_page
from tomoseg.training.listener import Beginning, Listener

HISTORY, SUMMARY = "history.png", "summary.html"


def course_beside(
    listener: Listener, run: Path, labels: LabelSet, config: TrainConfig, noticed: Sequence[Notice] = ()
) -> Listener:
    """Return a listener that also draws the course of the run, after each validation.

    Args:
        listener: Callbacks for progress, and for stopping early.
        run: The run folder.
        labels: The trained structures.
        config: The settings of the run.
        noticed: Notices about the training scans, the most serious first.
    """
    history: list[dict[str, Any]] = []
    facts: dict[str, object] = {}
    environment: dict[str, object] = {}

    def on_begin(beginning: Beginning) -> None:
        history[:] = beginning.history
        facts.update(beginning.facts)
        environment.update(beginning.environment)
        listener.on_begin(beginning)

    def on_epoch(record: dict[str, Any]) -> None:
        history.append(record)
        if _is_time(history):
            said = {**facts, **_of_curriculum(record), **environment}
            draw_history(history, run / HISTORY, config.lang)
            write_run_page(history, labels, config, said, run / HISTORY, run / SUMMARY, noticed)
        listener.on_epoch(record)

    return replace(listener, on_begin=on_begin, on_epoch=on_epoch)


def _is_time(history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether to draw: after each validation, or after each epoch before the first one."""
    validated = ["validation_loss" in record for record in history]
    return validated[-1] or not any(validated)


def _of_curriculum(record: Mapping[str, Any]) -> dict[str, object]:
    share = record.get("curriculum_share")
    return {} if share is None else {"curriculum": f"{share:.0%} of the slices"}
