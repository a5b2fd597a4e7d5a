"""Recording a run with MLflow: in a database in the run folder, or on the server that MLFLOW_TRACKING_URI names.

`mlflow ui --backend-store-uri sqlite:///RUN/mlflow/mlflow.db` shows it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tomoseg.config import TrainConfig
from tomoseg.files.atomic import write_whole_text
from tomoseg.training.recorders import Per
from tomoseg.training.run_folder import CONFIG, run_name

FOLDER, DATABASE, ID = "mlflow", "mlflow.db", "run-id"
"""Folder in the run folder; in it, the database and the file with the ID of MLflow's run."""

EXPERIMENT = "tomoseg"

SEND_SECONDS = 5.0
MOST_AT_ONCE = 1000
"""Interval and number at which values are sent together: each request takes as long as a step or longer."""

_LONGEST_VALUE = 6000

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # an unreachable server would otherwise stall training for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class MlflowRecorder:
    """A `recorders.Recorder` for MLflow.

    Args:
        run: The run folder.
        config: The settings.
    """

    def __init__(self, run: Path, config: TrainConfig) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._entities: Any = import_module("mlflow.entities")
        folder = (run / FOLDER).absolute()
        folder.mkdir(exist_ok=True)
        own = f"sqlite:///{(folder / DATABASE).as_posix()}"
        place = os.environ.get("MLFLOW_TRACKING_URI") or own
        self._client: Any = import_module("mlflow.tracking").MlflowClient(place)
        self._run_id = self._known(folder / ID, place) or self._new(run, folder if place == own else None)
        write_whole_text(folder / ID, f"{self._run_id}\n{place}\n")
        self._client.update_run(self._run_id, status="RUNNING")
        self._say_settings(config)
        self._client.log_artifact(self._run_id, str(run / CONFIG))
        self._waiting: list[Any] = []
        self._sent = time.monotonic()

    def _known(self, file: Path, place: str) -> str | None:
        """Return the ID of the run that was begun at this place, if it still exists."""
        if not file.is_file():
            return None
        run_id, _, where = file.read_text(encoding="utf-8").partition("\n")
        return run_id if where == f"{place}\n" and self._is_there(run_id) else None

    def _is_there(self, run_id: str) -> bool:
        try:
            return self._client.get_run(run_id).info.lifecycle_stage == "active"
        except import_module("mlflow.exceptions").MlflowException:
            return False

    def _new(self, run: Path, folder: Path | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        artifacts = None if folder is None else (folder / "artifacts").as_uri()
        experiment = self._client.create_experiment(name, artifacts) if found is None else found.experiment_id
        made: str = self._client.create_run(experiment, run_name=run_name(run)).info.run_id
        return made

    def _say_settings(self, config: TrainConfig) -> None:
        """Log settings that are not logged yet; MLflow does not allow changes, but its copy of the file is new."""
        said = self._client.get_run(self._run_id).data.params
        param = self._entities.Param
        new = [param(name, text[:_LONGEST_VALUE]) for name, text in _flat(config) if name not in said]
        self._client.log_batch(self._run_id, params=new)

    def numbers(self, values: Mapping[str, float], at: int, per: Per) -> None:
        """Implement `Recorder`."""
        now = int(1000 * time.time())
        self._waiting += [self._entities.Metric(name, value, now, at) for name, value in values.items()]
        is_time = time.monotonic() - self._sent > SEND_SECONDS
        if per == "epoch" or is_time or len(self._waiting) > MOST_AT_ONCE - len(values):
            self._send()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), MOST_AT_ONCE):
            self._client.log_batch(self._run_id, metrics=waiting[first : first + MOST_AT_ONCE])
        self._sent = time.monotonic()

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Implement `Recorder`."""
        self._client.log_artifact(self._run_id, str(file), f"pictures/{name}")

    def close(self, *, failed: bool) -> None:
        """Implement `Recorder`."""
        self._send()
        self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")


def _flat(config: TrainConfig) -> Iterator[tuple[str, str]]:
    def inner(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield from inner(value, f"{before}{name}.")
            else:
                yield f"{before}{name}", str(value)

    return inner(config.model_dump(mode="json"), "")
