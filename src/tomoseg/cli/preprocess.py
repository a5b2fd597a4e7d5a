"""`tomoseg preprocess`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output, is_planned
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.config import PREPROCESS_PRESETS, PlannedName, PreprocessConfig
from tomoseg.errors import ConfigError
from tomoseg.options import HERE, Spread
from tomoseg.terminal import console


def preprocess(
    dataset: Positional[Path],
    output: Output,
    preset: PlannedName | None = None,
    config: Path | None = None,
    minutes: float | None = None,
    corrections: Path | None = None,
    settings: Annotated[PreprocessConfig, arg(name="")] = PREPROCESS_PRESETS["default"],
    spread: Annotated[Spread, arg(name="")] = HERE,
) -> int:
    """Put a dataset on the network's grid, written once for fast training.

    Args:
        dataset: A folder of labelled scans; its layout is found by looking.
        output: Folder of the preprocessed dataset.
        preset: Settings to start from: planned ones, or a fixed set; if omitted, planned, or default beside a config.
        config: YAML file of settings put over the preset.
        minutes: How long training will take, for the plan of the grid; then steps are measured here. If omitted, an
            hour of a usual machine is reckoned with.
        corrections: Folder of masks corrected in `tomoseg view`; of each structure the last version takes the place of
            the dataset's.
        settings: Settings put over both.
        spread: Who does the cases; if omitted, as many processes of this machine as --workers says.

    Raises:
        ConfigError: If minutes are given where no grid is planned.
    """
    from tomoseg.datasets.layouts import Dataset
    from tomoseg.terminal.datasets import show_dataset
    from tomoseg.terminal.preprocessing import show_preprocessed
    from tomoseg.workflows.preprocess import CaseDone
    from tomoseg.workflows.preprocess import preprocess as run

    if is_planned(preset, config):
        settings = _planned(dataset, output, settings, minutes)
    elif minutes is not None:
        raise ConfigError("expected --minutes where a grid is planned, got it beside a preset or a file; leave it off")
    cases = count(1)
    with console.progress("preprocess") as show:

        def on_found(found: Dataset) -> None:
            show_dataset(found)
            show(0, len(found.cases))

        def on_case(done: CaseDone) -> None:
            show(next(cases), None, done.name)

        report = run(dataset, output, settings, on_found, on_case, corrections, spread)
    show_preprocessed(report, output)
    return SOME_FAILED if report.failed or report.left_out else DONE


def _planned(dataset: Path, output: Path, settings: PreprocessConfig, minutes: float | None) -> PreprocessConfig:
    """Settings with a planned grid, which is shown."""
    from tomoseg.terminal.planning import show_planned_grid
    from tomoseg.workflows.planned import planned_grid

    with console.progress("looking at cases") as show:
        planned, plan = planned_grid(dataset, output, settings, minutes, show)
    if plan is not None:
        show_planned_grid(plan)
    return planned
