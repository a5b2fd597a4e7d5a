"""Default plans of `tomoseg preprocess` and `tomoseg train`, and the settings that override them."""

from __future__ import annotations

import os
from pathlib import Path

from tomoseg.config import TRAIN_PRESETS, PreprocessConfig, TrainConfig
from tomoseg.errors import DatasetError
from tomoseg.files.outputs import begin_folder
from tomoseg.planning.rules import DatasetPlan
from tomoseg.preprocessed.format import INDEX, DatasetIndex
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import chosen_over, load_config, named, naming, put_over
from tomoseg.training.weights import fitted_to
from tomoseg.workflows.one_run import started_from
from tomoseg.workflows.plan import GRID_SIZES, OnCase, PlanRequest, check_asked, plan_preprocessing, plan_training
from tomoseg.workflows.run_kinds import settings_in
from tomoseg.workflows.train_views import check_dataset, check_run

ANY_MEMORY = 2**60
"""Memory limit for planning a grid, which does not depend on the memory of the machine that preprocesses."""


def planned_grid(
    dataset: Path,
    output: Path,
    config: PreprocessConfig,
    minutes: float | None = None,
    on_case: OnCase = lambda done, total: None,
) -> tuple[PreprocessConfig, DatasetPlan | None]:
    """Return settings with a planned grid, unless its size is given or the output already has one.

    Args:
        dataset: A folder of labelled scans.
        output: Folder of the preprocessed dataset.
        config: Given settings; those chosen explicitly stay.
        minutes: Training time in minutes; steps are measured only if it is given.
        on_case: Called with the number of cases examined and the total number of cases.

    Returns:
        The settings, and the plan if one was made.

    Raises:
        ConfigError: If the minutes are not positive.
        DatasetError: If an existing preprocessed dataset cannot be read.
        OutputError: If the output cannot be written.
    """
    if named(config) & GRID_SIZES:
        return config, None
    begin_folder(output, (INDEX,))
    if (output / INDEX).is_file():
        there = DatasetIndex.load(output).grid
        return chosen_over(config.model_copy(update={"grid": there}), config), None
    asked = PlanRequest(minutes, ANY_MEMORY, measures=minutes is not None)
    check_asked(asked)
    try:
        found = plan_preprocessing(dataset, config, asked, on_case)
    except DatasetError:
        return config, None  # preprocessing reports the error of each case
    return chosen_over(put_over(config, found.values(of_grid=True)), config), found


def planned_training(
    preprocessed: Path, output: Path, config: TrainConfig, on_case: OnCase = lambda done, total: None
) -> tuple[TrainConfig, DatasetPlan | None]:
    """Return settings planned for a preprocessed dataset, or those of a run already in the output folder.

    Args:
        preprocessed: The dataset.
        output: The run folder.
        config: Given settings; those chosen explicitly stay.
        on_case: Called with the number of cases examined and the total number of cases.

    Returns:
        The settings, and the plan if one was made: none for several processes, which would each measure something
        else, and none for networks of blocks and transformers.

    Raises:
        ConfigError: If memory cannot hold any plan.
        DatasetError: If the dataset cannot be used.
        OutputError: If the run folder cannot be written.
        TrainingError: If it holds another kind of run.
    """
    begin_folder(output)
    check_run(output, config)
    begun = settings_in(output)
    if begun is not None:
        there = load_config(TRAIN_PRESETS["default"], begun)
        return chosen_over(there, config), None
    network = config.network
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or network.dims == 3 or network.kind != "unet":
        return config, None
    data = Preprocessed(preprocessed)
    check_dataset(data, config)
    given = config
    if config.warm_start is not None:
        fitted = fitted_to(config, started_from(config.warm_start, output, data.grid.view))
        of_model = {"windows_hu", *(f"network.{name}" for name in type(network).model_fields)}
        given = naming(fitted, named(config) | of_model)
    found = plan_training(data, given, PlanRequest(), on_case)
    return chosen_over(put_over(config, found.values(of_grid=False)), config), found
