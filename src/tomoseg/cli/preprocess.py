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
from tomoseg.language.words import say
from tomoseg.options import HERE, Spread
from tomoseg.terminal.rows import CASES_OF, progress


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
    """Resample a dataset to the network's grid, once, so that training is fast.

    Args:
        dataset: A folder of labelled scans; its layout is detected automatically.
        output: Folder to write the preprocessed dataset to.
        preset: Settings to start from: those planned for the dataset, or a fixed set. If omitted, planned, or
            default if --config is given.
        config: YAML file of settings that override the preset.
        minutes: Planned training time in minutes, from which the grid is chosen; training steps are then timed
            on this machine. If omitted, one hour on a typical machine is assumed.
        corrections: Folder of masks corrected in `tomoseg view`; the latest version of each structure replaces
            the dataset's mask.
        settings: Settings that override both.
        spread: Where the cases are processed; if omitted, in as many processes on this machine as --workers
            says.

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
    with progress(say("preprocess"), count=CASES_OF) as show:

        def on_found(found: Dataset) -> None:
            show_dataset(found)
            show(0, len(found.cases))

        def on_case(done: CaseDone) -> None:
            show(next(cases), None, done.name)

        report = run(dataset, output, settings, on_found, on_case, corrections, spread)
    show_preprocessed(report, output)
    return SOME_FAILED if report.failed or report.left_out else DONE


def _planned(dataset: Path, output: Path, settings: PreprocessConfig, minutes: float | None) -> PreprocessConfig:
    """Plan the grid and show the plan; return the settings with that grid."""
    from tomoseg.terminal.planning import show_planned_grid
    from tomoseg.workflows.planned_grid import planned_grid

    with progress(say("reading cases"), count=CASES_OF) as show:
        planned, plan = planned_grid(dataset, output, settings, minutes, show)
    if plan is not None:
        show_planned_grid(plan)
    return planned
