"""The default plan of `tomoseg preprocess`, and the settings that override it. Needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

from tomoseg.config import PreprocessConfig
from tomoseg.errors import DatasetError
from tomoseg.planning.rules import DatasetPlan
from tomoseg.preprocessed.format import INDEX, DatasetIndex
from tomoseg.settings import chosen_over, named, put_over
from tomoseg.workflows.plan import GRID_SIZES, OnCase, PlanRequest, check_asked, plan_preprocessing
from tomoseg.workflows.preprocess import begin_preprocessed

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
    begin_preprocessed(dataset, output)
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
