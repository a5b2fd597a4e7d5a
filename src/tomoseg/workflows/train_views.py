"""`tomoseg train --views`: a network for each view of the body, combined into one model.

RUN/
  config.yaml           the settings as run
  axial/, coronal/, ... a run folder each
  turned/VIEW/          the dataset in a view's axis order, while that view is trained
  views.json            the best network of each view as one model, with their weights; once all are trained
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from tomoseg.config import TRAIN_PRESETS, TrainConfig
from tomoseg.errors import ConfigError, DatasetError, TrainingError
from tomoseg.files.outputs import begin_folder
from tomoseg.models.folder import VIEWS, load_model
from tomoseg.models.views import Fusion, save_fusion
from tomoseg.options import Compute
from tomoseg.preprocessed.format import INDEX
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.turn import turn
from tomoseg.settings import load_config
from tomoseg.training.folds import assign_folds
from tomoseg.training.learner import CustomLoss
from tomoseg.training.listener import Listener, TrainingOutcome
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.training.run_folder import BEST, CONFIG, FILES, LAST, save_settings, saving_first
from tomoseg.views import ViewName
from tomoseg.workflows.fuse import weigh
from tomoseg.workflows.one_run import train_one
from tomoseg.workflows.run_kinds import OF_FOLDS, ONE, kind_in
from tomoseg.workflows.side_by_side import ViewJob, train_side_by_side
from tomoseg.workflows.train_folds import check_run_of

TURNED = "turned"


def check_run(output: Path, config: TrainConfig) -> None:
    """Refuse settings that do not go together, and an output that cannot be written or holds another kind of run.

    Args:
        output: The run folder.
        config: The settings of one network, of folds or of views.

    Raises:
        ConfigError: If the settings of views do not go together.
        ModelError: If the folder's record of folds cannot be read.
        OutputError: If a folder or a file cannot be made.
        TrainingError: If it holds another kind of run, or a preprocessed dataset.
    """
    if (output / INDEX).is_file():
        raise TrainingError(f"{output}: expected a run folder, got a preprocessed dataset; choose another folder")
    if config.side_by_side and not config.views:
        raise ConfigError("expected views to train side by side, got none; name them with --views")
    if config.views:
        check_run_of_views(output, config)
    else:
        check_run_of(output, config.folds)


def check_run_of_views(output: Path, config: TrainConfig) -> None:
    """Refuse settings that do not go together, and an output that cannot be written or holds another kind of run.

    Args:
        output: The run folder.
        config: Settings with views.

    Raises:
        ConfigError: If there is only one view, a view comes twice, or folds or blocks are combined with views.
        OutputError: If a folder or a file cannot be made.
        TrainingError: If it holds a run of one network.
    """
    views = config.views
    if len(views) < 2 or len(set(views)) < len(views):
        raise ConfigError(
            f"expected two or three different views, got {', '.join(views)}; name others, or preprocess with "
            "--grid.view for one view alone"
        )
    if config.folds is not None:
        raise ConfigError("expected views or folds, got both; train the folds of one view, or the views of one split")
    if config.network.dims == 3:
        raise ConfigError(
            f"expected a network of slices for views, got {config.network.kind}, which takes blocks and sees all "
            "three axes; leave views out"
        )
    kind = kind_in(output)
    if kind in (ONE, OF_FOLDS):
        raise TrainingError(
            f"{output}: expected a new run folder, or one of views, got a run of {kind}; choose another folder"
        )
    begin_folder(output, (CONFIG, VIEWS))
    for view in views:
        begin_folder(output / view, FILES)
        begin_folder(output / view / BEST)


def train_views(
    data: Preprocessed,
    output: Path,
    config: TrainConfig,
    told: Listener,
    loss: CustomLoss | None,
    ranks: Ranks,
    *,
    force: bool,
) -> TrainingOutcome:
    """Train a network for each view, or continue the run in the output folder.

    One after the other, each starts from the network of the view before, unless the settings name a model.

    Args:
        data: The preprocessed dataset, of axial view.
        output: The run folder.
        config: The settings; its budget is each view's.
        told: Callbacks for progress, and for stopping early.
        loss: A custom loss: a function of logits, masks and annotated structures that returns a scalar.
        ranks: The processes that train together.
        force: Continue a run that began with other settings.

    Raises:
        ConfigError: If views side by side are given a custom loss, or several processes train together.
        DatasetError: If the dataset is not of axial view or cannot be used.
        OutputError: If the run folder cannot be written.
        TrainingError: If the run in the folder has other settings or more views, the loss is not finite, or a process
            is lost.
    """
    check_dataset(data, config)
    if not force:
        _check_no_view_is_dropped(output, config)
    saving = saving_first(told, partial(save_settings, config, output))
    if config.side_by_side:
        _check_alone(loss, ranks)
        return _all_at_once(data, output, config, saving, force=force)
    best: dict[str, float | None] = {}
    before: Path | None = None
    for number, view in enumerate(config.views, start=1):
        if ranks.is_first:
            told.on_part(f"View {number} of {len(config.views)}: {view}")
        of_view = data if view == "axial" else _turned(data, view, output, told, ranks)
        if of_view is None:
            return TrainingOutcome(False, [], None, views=best)
        settings = _starting_from(before, output / view, config.of_view(view))
        outcome = train_one(of_view, output / view, settings, saving, loss, ranks, force=force)
        best[view], before = outcome.best_dice, output / view
        if not outcome.finished:
            return TrainingOutcome(False, outcome.history, outcome.best_dice, views=best)
    together = ranks.first(_together(data, output, config, told) if ranks.is_first else None)
    return TrainingOutcome(True, outcome.history, together, views=best)


def _all_at_once(
    data: Preprocessed, output: Path, config: TrainConfig, told: Listener, *, force: bool
) -> TrainingOutcome:
    """Train the views side by side, as `train_views`."""
    jobs: dict[str, ViewJob] = {}
    for view in config.views:
        of_view = data if view == "axial" else _turned(data, view, output, told, ALONE)
        if of_view is None:
            return TrainingOutcome(False, [], None, views={})
        settings = _starting_from(None, output / view, config.of_view(view))
        jobs[view] = ViewJob(of_view.folder, output / view, settings, force)
    told.on_part(f"{len(jobs)} views side by side: {', '.join(jobs)}")
    outcomes = train_side_by_side(jobs, told)
    finished = all(one.finished for one in outcomes.values())
    return TrainingOutcome(
        finished,
        [record for one in outcomes.values() for record in one.history],
        _together(data, output, config, told) if finished else None,
        views={view: one.best_dice for view, one in outcomes.items()},
    )


def _check_alone(loss: CustomLoss | None, ranks: Ranks) -> None:
    """Refuse what views side by side cannot take.

    Raises:
        ConfigError: If a custom loss is given, or several processes train together.
    """
    if loss is not None:
        raise ConfigError("expected a loss of tomoseg with side_by_side, got a custom one; leave side_by_side out")
    if ranks.count > 1:
        raise ConfigError(
            f"expected one process with side_by_side, which starts one for each view itself, got {ranks.count}; leave "
            "torchrun or side_by_side out"
        )


def _starting_from(before: Path | None, run: Path, config: TrainConfig) -> TrainConfig:
    """Return a view's settings with the network that it starts from; one that has begun keeps its own.

    Args:
        before: The run of the view before; None for the first view.
        run: The view's run folder, which may have been moved since it began.
        config: The settings of the view.
    """
    if config.warm_start is not None:
        return config
    if (run / LAST).is_file() and (run / CONFIG).is_file():
        began = load_config(TRAIN_PRESETS["default"], run / CONFIG).warm_start
        is_of_run = began is None or began.name in get_args(ViewName)
        before = began if is_of_run else before
    return config.model_copy(update={"warm_start": before})


def check_dataset(data: Preprocessed, config: TrainConfig) -> None:
    """Refuse a dataset that folds or views cannot be made of, before any work.

    Raises:
        DatasetError: If it is not of axial view for views, or has fewer patients than folds.
    """
    if config.folds is not None:
        assign_folds(data, config.folds, config.seed)
    if config.views and data.grid.view != "axial":
        raise DatasetError(
            f"{data.folder}: expected a dataset of axial slices, from which the other views are made, got "
            f"{data.grid.view} ones; preprocess without --grid.view"
        )


def _check_no_view_is_dropped(output: Path, config: TrainConfig) -> None:
    """Refuse fewer views than the run was started with; views may be added.

    Raises:
        ConfigError: If the run's settings cannot be read.
        TrainingError: If a view is missing.
    """
    if kind_in(output) is None or not (output / CONFIG).is_file():
        return
    before = load_config(TRAIN_PRESETS["default"], output / CONFIG).views
    if not set(before) <= set(config.views):
        raise TrainingError(
            f"{output}: expected the views that the run in this folder was started with, {', '.join(before)}, got "
            f"{', '.join(config.views)}; give all of them or another run folder, or leave some out of the model with "
            "--force"
        )


def _turned(data: Preprocessed, view: ViewName, output: Path, told: Listener, ranks: Ranks) -> Preprocessed | None:
    """Return the dataset in a view's axis order, written by the first process; None if it was stopped."""
    folder = output / TURNED / view

    def on_case(done: int, total: int) -> bool:
        told.on_stage(f"making {view} slices of case {done + 1} of {total}")
        return not told.should_stop()

    made = ranks.first(turn(data, view, folder, on_case) is not None if ranks.is_first else False)
    return Preprocessed(folder) if made else None


def _together(data: Preprocessed, output: Path, config: TrainConfig, told: Listener) -> float | None:
    """Write the combined model, remove the datasets of views, and return the mean Dice over structures."""
    fusion, dice = _weighed(data, output, config, told)
    folders = tuple(f"{view}/{BEST}" for view in config.views)
    save_fusion(replace(fusion, folders=folders), output)
    shutil.rmtree(output / TURNED, ignore_errors=True)
    return dice


def _weighed(data: Preprocessed, output: Path, config: TrainConfig, told: Listener) -> tuple[Fusion, float | None]:
    if not any(case.split == "validation" for case in data.cases):
        told.on_warning("there is no validation case to choose how much each view counts: all count equally")
        return Fusion((), ()), None
    models = [load_model(output / view) for view in config.views]
    compute = Compute(engine="torch", device=config.device, precision=config.precision)
    with told.waiting():  # nothing is written yet, and the same call weighs them again
        fused = weigh(models, data, compute=compute, on_case=partial(_say, told))
    values = [value for value in fused.dice.values() if np.isfinite(value)]
    mean = float(np.mean(values)) if values else None
    fused.fusion.provenance["validation_dice"] = mean
    return fused.fusion, mean


def _say(told: Listener, done: int, total: int) -> None:
    told.on_stage(f"weighing the views, case {done} of {total}")
