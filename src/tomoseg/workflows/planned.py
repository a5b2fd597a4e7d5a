"""The default plan of `tomoseg train`, and the settings that override it."""

from __future__ import annotations

import os
from pathlib import Path

from tomoseg.config import TRAIN_PRESETS, TrainConfig
from tomoseg.files.outputs import begin_folder
from tomoseg.planning.rules import DatasetPlan
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import chosen_over, load_config, named, naming, put_over
from tomoseg.training.weights import fitted_to
from tomoseg.workflows.one_run import started_from
from tomoseg.workflows.plan import OnCase, PlanRequest, plan_training
from tomoseg.workflows.run_kinds import settings_in
from tomoseg.workflows.train_views import check_dataset, check_run


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
