"""What `tomoseg preprocess` and `tomoseg train` plan where they are told nothing else, and what wins over it."""

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
from tomoseg.workflows.train_views import check_run

ANY_MEMORY = 2**60
"""A grid is not chosen by the memory of the machine that makes it."""


def planned_grid(
    dataset: Path,
    output: Path,
    config: PreprocessConfig,
    minutes: float | None = None,
    on_case: OnCase = lambda done, total: None,
) -> tuple[PreprocessConfig, DatasetPlan | None]:
    """Settings with a planned grid, unless somebody chose its size, or a dataset is there that has one.

    Args:
        dataset: A folder of labelled scans.
        output: Where the preprocessed dataset goes.
        config: What somebody chose in it stays.
        minutes: The minutes of training; steps are measured only where they are given.
        on_case: Called with the number of cases examined and the total number of cases.

    Returns:
        The settings, and the plan where one was made.

    Raises:
        ConfigError: If the minutes are no time.
        DatasetError: If the dataset that is there cannot be understood.
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
        return config, None  # preprocessing says of each case what is wrong
    return chosen_over(put_over(config, found.values(of_grid=True)), config), found


def planned_training(
    preprocessed: Path, output: Path, config: TrainConfig, on_case: OnCase = lambda done, total: None
) -> tuple[TrainConfig, DatasetPlan | None]:
    """Settings planned for a preprocessed dataset; those of the run that is in the output folder, if there is one.

    Args:
        preprocessed: The dataset.
        output: The run folder.
        config: What somebody chose in it stays.
        on_case: Called with the number of cases examined and the total number of cases.

    Returns:
        The settings, and the plan where one was made: none for several processes, which would each measure something
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
        there = load_config(TrainConfig, TRAIN_PRESETS["default"], begun)
        return chosen_over(there, config), None
    network = config.network
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or network.dims == 3 or network.kind != "unet":
        return config, None
    data = Preprocessed(preprocessed)
    given = config
    if config.warm_start is not None:
        fitted = fitted_to(config, started_from(config.warm_start, output, data.grid.view))
        of_model = {"windows_hu", *(f"network.{name}" for name in type(network).model_fields)}
        given = naming(fitted, named(config) | of_model)
    found = plan_training(data, given, PlanRequest(), on_case)
    return chosen_over(put_over(config, found.values(of_grid=False)), config), found
