"""Process of a training that a client started, on clients' corrected labels and datasets.

It does what `tomoseg preprocess` and `tomoseg train --warm-start` do. Each line on its standard output is JSON: a
`line` of text, or progress. It ends with the server; its files count only if it succeeds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomoseg.config import TRAIN_PRESETS, PreprocessConfig, TrainConfig
from tomoseg.datasets.layouts import find_dataset
from tomoseg.errors import DatasetError, TomosegError, counted
from tomoseg.limits import refuse_hopeless_threads
from tomoseg.models.views import load_for_view, record_of
from tomoseg.server.training_task import RUN, Task
from tomoseg.server.worker import end_with_the_server
from tomoseg.settings import load_config
from tomoseg.training.listener import Listener, StepReport

NICENESS = 5
"""Increment of the process's niceness, so that segmentation has priority."""


def check_learnable(datasets: tuple[Path, ...], config: Path | None = None) -> None:
    """Refuse datasets that cannot be combined with corrected labels, and invalid settings.

    Args:
        datasets: Folders of datasets.
        config: YAML file with settings of training.

    Raises:
        ConfigError: If the file has unknown settings, or cannot be read.
        DatasetError: If a folder is not a dataset, or has another layout than one folder per case.
    """
    if config is not None:
        load_config(TRAIN_PRESETS["default"], config)
    for folder in datasets:
        found = find_dataset(folder)
        if found.layout != "case folders":
            raise DatasetError(
                f"{folder}: expected one folder per case, to which submitted labels can be added, got the "
                f"layout {found.layout!r}; convert it to case folders"
            )


def train_task(task: Task) -> None:
    """Preprocess and train.

    Args:
        task: The training.

    Raises:
        TomosegError: If it fails.
    """
    from tomoseg.workflows.planned import planned_training
    from tomoseg.workflows.preprocess import preprocess
    from tomoseg.workflows.train import train_run

    folder = Path(task.folder)
    dataset, preprocessed, run = folder / "dataset", folder / "preprocessed", folder / RUN
    _put_together(task.datasets, dataset)
    grid = load_for_view(Path(task.model), record_of(Path(task.model)).grid.view).record.grid
    _say("preprocessing")
    report = preprocess(dataset, preprocessed, PreprocessConfig(grid=grid, workers=1))
    left = f", {counted(len(report.failed), 'case')} left out" if report.failed else ""
    _say(f"preprocessed: {counted(len(report.records), 'case')} of {counted(len(report.labels), 'structure')}{left}")
    mine: dict[str, Any] = {"warm_start": Path(task.model), "minutes": task.minutes, "device": task.device}
    if task.config is None:
        _say("looking at the dataset and timing a few training steps")
        settings, _ = planned_training(preprocessed, run, TrainConfig(**mine))
    else:
        settings = load_config(TRAIN_PRESETS["default"], Path(task.config)).model_copy(update=mine)
    train_run(preprocessed, run, settings, Listener(on_step=_on_step, on_epoch=_on_epoch, on_stage=_say))


def _put_together(datasets: tuple[str, ...], folder: Path) -> None:
    """Combine datasets in one folder, each as a folder of cases."""
    folder.mkdir()
    for number, dataset in enumerate(datasets, start=1):
        (folder / f"part{number}").symlink_to(Path(dataset).absolute(), target_is_directory=True)


def _on_step(step: StepReport) -> None:
    _tell({"share": step.progress, "dice": step.dice})


def _on_epoch(record: Mapping[str, Any]) -> None:
    words = [f"epoch {record['epoch']}"]
    words += [f"{name} {record[name]:.4g}" for name in ("loss", "dice") if isinstance(record.get(name), float)]
    _say(", ".join(words))


def _say(line: str) -> None:
    _tell({"line": line})


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(argv: list[str]) -> int:
    """Train, and return 0 if there is a model.

    Args:
        argv: The task as JSON.
    """
    refuse_hopeless_threads()
    threading.Thread(target=end_with_the_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    task = Task.from_json(argv[0])
    try:
        train_task(task)
    except TomosegError as error:
        _say(_without_places(str(error), task))
        return 1
    except Exception as error:  # its message may contain a path
        _say(
            f"expected no internal error, got {type(error).__name__}; run `tomoseg preprocess` and `tomoseg train` by "
            "hand"
        )
        return 1
    return 0


def _without_places(text: str, task: Task) -> str:
    """Return a message without the server's paths."""
    for place in (task.folder, *task.datasets, task.model):
        text = text.replace(place, "the server's folder")
    return text


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # the thread that reads standard input would block a normal exit
