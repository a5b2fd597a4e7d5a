"""Training of one network in its run folder, with its pages and export."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from tomoseg.config import TRAIN_PRESETS, TrainConfig
from tomoseg.errors import TomosegError
from tomoseg.models.exports import find_export
from tomoseg.models.folder import ModelRecord, load_model
from tomoseg.models.views import load_for_view
from tomoseg.notices import Notice, gathered
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import load_config
from tomoseg.training.learner import CustomLoss
from tomoseg.training.listener import Listener, TrainingOutcome
from tomoseg.training.ranks import Ranks
from tomoseg.training.recipe import train
from tomoseg.training.recorders import recorders_beside
from tomoseg.training.run_folder import CONFIG, LAST, RunFolder
from tomoseg.training.weights import fitted_to
from tomoseg.views import ViewName
from tomoseg.workflows.course import course_beside
from tomoseg.workflows.export import export
from tomoseg.workflows.little import why_little_was_found
from tomoseg.workflows.looks import check_pictures, pictures_beside
from tomoseg.workflows.watched_run import pictures_of

MOST_NAMED = 3
"""Structures named in a warning; more are counted."""


def train_one(
    data: Preprocessed,
    output: Path,
    config: TrainConfig,
    told: Listener,
    loss: CustomLoss | None,
    ranks: Ranks,
    *,
    force: bool,
) -> TrainingOutcome:
    """Train one network, or continue the run in the output folder.

    Args:
        data: The preprocessed dataset, with the splits to use.
        output: The run folder.
        config: The settings.
        told: Callbacks for progress, and for stopping early.
        loss: A custom loss: a function of logits, masks and annotated structures that returns a scalar.
        ranks: The processes that train together.
        force: Continue a run that began with other settings.

    Raises:
        ConfigError: If a structure to draw is not in the dataset.
        DatasetError: If the dataset cannot be used.
        OutputError: If the run folder cannot be written.
        TrainingError: If the run in the folder has other settings, the loss is not finite, or a process is lost.
    """
    if (start := config.warm_start) is not None:
        source = started_from(start, output, data.grid.view)
        config = fitted_to(config, source)
        if ranks.is_first and not _are_views_of_a_run(start, output):
            _tell_of_start(source, data, told)
    check_pictures(data.labels, config)
    folder = RunFolder(output, config, force=force, writes=ranks.is_first)
    if not ranks.is_first:
        return train(data, config, folder, Listener(should_stop=told.should_stop), loss, ranks)
    with recorders_beside(told, output, config, partial(pictures_of, output)) as beside:
        drawn = course_beside(beside, output, data.labels, config, _noticed(data))
        outcome = train(data, config, folder, pictures_beside(drawn, output, data, config), loss, ranks)
    if not outcome.finished:
        return outcome
    for line in why_little_was_found(data, config, outcome.history):
        told.on_warning(line)
    if config.export:
        _export_best(output, told)
    return outcome


def started_from(model: Path, output: Path, view: str) -> ModelRecord | TrainConfig:
    """Return what a run starts from; for a run that has begun, what it began with, since the model may be gone."""
    began = output / CONFIG
    if began.is_file() and (output / LAST).is_file():
        return load_config(TRAIN_PRESETS["default"], began)
    return load_for_view(model, view).record


def _are_views_of_a_run(model: Path, output: Path) -> bool:
    """Whether a model to start from is the view before in a run of views, where it is meant to be of another view."""
    views = get_args(ViewName)
    return model.parent == output.parent and model.name in views and output.name in views


def _tell_of_start(source: ModelRecord | TrainConfig, data: Preprocessed, told: Listener) -> None:
    """Report that training starts from the network of another view, or from one of quite other structures."""
    if not isinstance(source, ModelRecord):
        return  # the run has begun, and this was told then
    view = data.grid.view
    if source.grid.view != view:
        told.on_warning(
            f"the model to start from has no network for {view} slices: this one starts from its network for "
            f"{source.grid.view} slices"
        )
    ours, theirs = data.labels.names, source.labels.names
    if not set(ours) & set(theirs):
        told.on_warning(
            f"the model to start from has none of the dataset's structures: it has {_few(theirs)}, the dataset "
            f"{_few(ours)}; only the layers below the last start from its weights; if they are the same structures, "
            "rename them in the dataset"
        )


def _few(names: Sequence[str]) -> str:
    """Return the first of many names."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _noticed(data: Preprocessed) -> list[Notice]:
    """Return warnings about the scans of a dataset, the most serious first, equal ones grouped."""
    told = ((case.name, notice) for case in data.cases for notice in case.record.warnings)
    return gathered((name, notice) for name, notice in told if notice.level == "warning")


def _export_best(run: Path, told: Listener) -> None:
    """Write the OpenVINO export of the best model; a failed export is reported and does not fail the training."""
    if find_export(load_model(run), "openvino", "fp32") is not None:
        return
    told.on_stage("writing the OpenVINO export")
    try:
        export(run, "openvino")
    except TomosegError as error:
        told.on_warning(f"no OpenVINO export was written: {error}")
