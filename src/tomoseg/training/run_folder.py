"""The run folder: results of a training run, and the state that it resumes from.

    RUN/
      config.yaml        the settings as run
      environment.json   versions, device, threads
      metrics.jsonl      one line per epoch
      history.png        training curves
      summary.html       report page
      pictures/          pictures of chosen structures, if configured
      tensorboard/, wandb/, mlflow/       if configured
      last.pt            full state to resume from
      best/              the model of the best validation

Each is written aside and renamed, so that it is always complete. Curves and page are written by a listener
(`workflows.course`).
"""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.files.atomic import whole_file
from tomoseg.models.folder import Model, save_model
from tomoseg.settings import Role, load_config, roles, save_config, written
from tomoseg.training.listener import Beginning, Listener
from tomoseg.version import __version__

CONFIG, ENVIRONMENT, METRICS, LAST, BEST = (
    "config.yaml",
    "environment.json",
    "metrics.jsonl",
    "last.pt",
    "best",
)
FILES = (CONFIG, ENVIRONMENT, METRICS, LAST)

FREE_TO_CHANGE = frozenset(name for name, role in roles(TrainConfig).items() if role is not Role.RESULT)
"""Settings that may change when a run is resumed: those of length and hardware, not of the result."""


class RunFolder:
    """A run folder, created if missing.

    Args:
        folder: The folder.
        config: The settings of the run.
        force: Resume a run even if it began with other settings.
        writes: Whether this process writes; only one of those that train together does.

    Raises:
        TrainingError: If it holds a run with other settings.
    """

    def __init__(self, folder: Path, config: TrainConfig, *, force: bool = False, writes: bool = True) -> None:
        self.folder, self._config, self._writes = folder, config, writes
        begun = (folder / LAST).exists() and (folder / CONFIG).exists()  # else nothing has been trained yet
        if begun and not force:
            self._check_same(load_config(TrainConfig(), folder / CONFIG), config)

    def save_settings(self) -> None:
        """Write the settings, once nothing else refuses them."""
        if self._writes:
            save_settings(self._config, self.folder)

    def save_environment(self, environment: Mapping[str, object]) -> None:
        """Write versions, device and precision."""
        if self._writes:
            with whole_file(self.folder / ENVIRONMENT) as aside:
                aside.write_text(json.dumps(environment, indent=1), encoding="utf-8")

    def load_state(self) -> dict[str, Any] | None:
        """Read the state to resume from; None for a new run.

        Raises:
            TrainingError: If it cannot be read.
        """
        path = self.folder / LAST
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"{path}: expected a training state, got: {reason}; delete it to train again") from None

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the state to resume from, atomically."""
        if not self._writes:
            return
        content = io.BytesIO()  # torch's own file writer gives no useful error for a full disk
        torch.save(state, content)
        with whole_file(self.folder / LAST) as aside:
            aside.write_bytes(content.getbuffer())

    def save_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """Write the epochs, one JSON object per line."""
        if self._writes:
            with whole_file(self.folder / METRICS) as aside:
                aside.write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")

    def save_best(self, model: Model) -> None:
        """Replace the best model."""
        if self._writes:
            save_model(model, self.folder / BEST)

    def _check_same(self, before: TrainConfig, now: TrainConfig) -> None:
        old, new = before.model_dump(), now.model_dump()
        changed = [
            f"{place} was {written(was)} and is {written(becomes)}"
            for place, was, becomes in _differences(old, new)
            if place not in FREE_TO_CHANGE
        ]
        if changed:
            raise TrainingError(
                f"{self.folder}: expected the settings of the run in this folder, got others: "
                f"{'; '.join(changed)}; use its settings or another folder, or continue with --force"
            )


def save_settings(config: TrainConfig, folder: Path) -> None:
    """Replace the settings of a run, atomically."""
    with whole_file(folder / CONFIG) as aside:
        save_config(config, aside)


def saving_first(told: Listener, save: Callable[[], None]) -> Listener:
    """Return a listener that first saves the records of a run of several networks, once one has refused nothing.

    Args:
        told: Callbacks of training.
        save: Saves the records.
    """

    def on_begin(beginning: Beginning) -> None:
        save()
        told.on_begin(beginning)

    return replace(told, on_begin=on_begin)


def run_name(folder: Path) -> str:
    """Return the name of a run in lists; for one network of several it includes the run's.

    Args:
        folder: The folder of the run, or of one of its networks.

    Example:
        >>> run_name(Path("experiments/first"))
        'first'
    """
    place = folder.absolute()
    return f"{place.parent.name}/{place.name}" if (place.parent / CONFIG).is_file() else place.name


def environment_of(device: torch.device, dtype: torch.dtype, processes: int) -> dict[str, object]:
    """Return versions, device and precision of a run.

    Args:
        device: Device of training.
        dtype: Data type of convolutions.
        processes: Number of processes that train together.
    """
    return {
        "tomoseg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found = []
    for key in new:
        was, becomes = old.get(key), new[key]
        if isinstance(was, dict) and isinstance(becomes, dict):
            found += _differences(was, becomes, f"{prefix}{key}.")
        elif was != becomes:
            found.append((prefix + key, was, becomes))
    return found
