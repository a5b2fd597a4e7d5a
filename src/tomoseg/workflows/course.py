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
    """Return a listener that also draws the course of the run, after each validation and when it is resumed.

    An epoch's state is saved before the epoch is drawn, so a run that ended in between has a drawing to make up for.

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

    def draw(shown: Sequence[Mapping[str, Any]]) -> None:
        said = {**facts, **_of_curriculum(shown[-1]), **environment}
        draw_history(shown, run / HISTORY, config.lang)
        write_run_page(shown, labels, config, said, run / HISTORY, run / SUMMARY, noticed)

    def on_begin(beginning: Beginning) -> None:
        history[:] = beginning.history
        facts.update(beginning.facts)
        environment.update(beginning.environment)
        if shown := _shown(history):
            draw(shown)
        listener.on_begin(beginning)

    def on_epoch(record: dict[str, Any]) -> None:
        history.append(record)
        if _shown(history) == history:
            draw(history)
        listener.on_epoch(record)

    return replace(listener, on_begin=on_begin, on_epoch=on_epoch)


def _shown(history: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the epochs that are drawn: up to the last validation, or all before the first one."""
    validated = [number for number, record in enumerate(history, start=1) if "validation_loss" in record]
    return history[: validated[-1]] if validated else history


def _of_curriculum(record: Mapping[str, Any]) -> dict[str, object]:
    share = record.get("curriculum_share")
    return {} if share is None else {"curriculum": f"{share:.0%} of the slices"}
