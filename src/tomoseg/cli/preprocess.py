"""`tomoseg preprocess`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.config import PREPROCESS_PRESETS, PreprocessConfig, PresetName
from tomoseg.terminal import console


def preprocess(
    dataset: Positional[Path],
    output: Output,
    preset: PresetName = "default",
    config: Path | None = None,
    settings: Annotated[PreprocessConfig, arg(name="")] = PREPROCESS_PRESETS["default"],
) -> int:
    """Put a dataset on the network's grid, written once for fast training.

    Args:
        dataset: A folder of labelled scans; its layout is found by looking.
        output: Folder of the preprocessed dataset.
        preset: Settings to start from.
        config: YAML file of settings put over the preset.
        settings: Settings put over both.
    """
    from tomoseg.datasets.layouts import Dataset
    from tomoseg.terminal.datasets import show_dataset
    from tomoseg.terminal.preprocessing import show_preprocessed
    from tomoseg.workflows.preprocess import preprocess as run

    cases = count(1)
    with console.progress("preprocess") as show:

        def on_found(found: Dataset) -> None:
            show_dataset(found)
            show(0, len(found.cases))

        report = run(dataset, output, settings, on_found, lambda done: show(next(cases), None, done.name))
    show_preprocessed(report, output)
    return SOME_FAILED if report.failed or report.left_out else DONE
