"""Starting, watching and stopping a training, one at a time, and offering its model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from tomoseg.files.atomic import whole_folder
from tomoseg.interrupts import interrupts_blocked
from tomoseg.server.database import Database
from tomoseg.server.jobs import new_id
from tomoseg.server.keeping import CORRECTED
from tomoseg.server.offers import TRAINED, Offer, offers_of
from tomoseg.server.refusals import RefusalError
from tomoseg.server.training_task import RUN, Task

TRAINING = "training"
"""Folder of the present training, in the server's folder."""

LINES = 20
"""Number of last output lines that are kept."""

_FACT = "training"
_STOPPED = "the server was stopped during training; start the training again"


@dataclass(frozen=True)
class Learning:
    """Settings of training for clients.

    Attributes:
        datasets: Datasets to train on besides clients' corrected labels; None if clients may not train.
        minutes: Time limit of a training.
        config: YAML file with settings of training; None for planned ones.
        device: Device of training.
    """

    datasets: tuple[Path, ...] | None = None
    minutes: float = 60.0
    config: Path | None = None
    device: str = "auto"


@dataclass
class Training:
    """State of a training.

    Attributes:
        model: Name of the model that it starts from.
        id: Id of the training.
        status: `RUNNING`, `DONE`, `ERROR` or `STOPPED`.
        started: Time of its start.
        ended: Time of its end; None while it runs.
        lines: Last lines of output.
        share: Progress, 0 to 1.
        dice: Best validation Dice; None before the first validation.
        result: Name of the trained model.
    """

    model: str
    id: str = field(default_factory=new_id)
    status: str = "RUNNING"
    started: str = field(default_factory=lambda: _now())
    ended: str | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LINES))
    share: float = 0.0
    dice: float | None = None
    result: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return the state as clients of MONAI Label read it."""
        end = {} if self.ended is None else {"end_ts": self.ended}
        made = {} if self.result is None else {"result": {"model": self.result}}
        told = {"id": self.id, "status": self.status, "start_ts": self.started, "details": list(self.lines)}
        return told | end | made | {"request": {"model": self.model}}

    def stats(self) -> dict[str, Any]:
        """Return the progress as a client draws it, in percent."""
        done = {} if self.ended is None else {"total_time": self.ended}
        return {"epoch": round(100 * self.share), "total_epochs": 100, "best_metric": self.dice or 0.0} | done


class Trainer:
    """Starts, watches and stops trainings.

    Args:
        database: The database, which keeps the last training.
        folder: The server's folder.
        offers: Models by name, to which trained ones are added.
        learning: Settings of training for clients.
    """

    def __init__(self, database: Database, folder: Path, offers: dict[str, Offer], learning: Learning) -> None:
        self._database, self._folder, self._offers, self.learning = database, folder, offers, learning
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._watching: threading.Thread | None = None
        self.last: Training | None = None

    @property
    def trainable(self) -> list[str]:
        """Names of the models that a training can start from; empty if clients may not train."""
        return (
            [] if self.learning.datasets is None else [name for name, one in self._offers.items() if one.is_trainable]
        )

    @property
    def is_running(self) -> bool:
        """Whether a training is running."""
        return self.last is not None and self.last.status == "RUNNING"

    def recall(self) -> None:
        """Mark a training that ran when the server ended as failed, and remove its files."""
        shutil.rmtree(self._folder / TRAINING, ignore_errors=True)
        stored = self._database.fact(_FACT)
        if stored is None:
            return
        found = json.loads(stored)
        self.last = Training(**found | {"lines": deque(found["lines"], LINES)})
        if self.is_running:
            self._end("ERROR", _STOPPED)

    def start(self, model: str | None = None, minutes: float | None = None) -> Training:
        """Start a training.

        Args:
            model: Name of the model to start from; None for the default.
            minutes: Time limit, at most the configured one.

        Raises:
            RefusalError: If clients may not train, or not this model, a training is running, or there are no labels.
        """
        name = self._named(model)
        with self._lock:
            if self.is_running:
                text = (
                    "expected to train one model at a time, got a request for another; wait until it is done, or stop "
                    "it (DELETE)"
                )
                raise RefusalError(HTTPStatus.TOO_MANY_REQUESTS, text)
            task = self._task(name, min(minutes or self.learning.minutes, self.learning.minutes))
            self.last = Training(name)
            self._keep()
            command = [sys.executable, "-m", "tomoseg.server.training", task.to_json()]
            with interrupts_blocked():
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            self._watching = threading.Thread(target=self._watch, args=(self._process, self.last), daemon=True)
            self._watching.start()
            return self.last

    def stop(self) -> Training | None:
        """Stop the running training, and return it; None if there is none."""
        with self._lock:
            if not self.is_running or self._process is None:
                return None
            self._end("STOPPED", "stopped")
            _kill(self._process)
        if self._watching is not None:
            self._watching.join(10)
        return self.last

    def _named(self, model: str | None) -> str:
        """Return the name of the model to start from.

        Raises:
            RefusalError: If clients may not train, or not this model.
        """
        if self.learning.datasets is None:
            text = "expected a server that trains, got one that does not; start it with --train-on"
            raise RefusalError(HTTPStatus.FORBIDDEN, text)
        trainable = self.trainable
        name = next(iter(trainable), None) if model is None else model
        if name is None or name not in trainable:
            known = ", ".join(trainable) or "there are none"
            text = f"expected the name of a model that training can start from ({known}), got another; choose one"
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        return name

    def _task(self, name: str, minutes: float) -> Task:
        """Make the task of a training, in an empty folder.

        Raises:
            RefusalError: If there are no labels to train on.
        """
        assert self.learning.datasets is not None
        corrected = self._folder / CORRECTED
        has_labels = corrected.is_dir() and any(corrected.iterdir())
        datasets = [corrected] * has_labels + list(self.learning.datasets)
        if not datasets:
            text = "expected labels to learn from, got none; submit a label first"
            raise RefusalError(HTTPStatus.CONFLICT, text)
        work = self._folder / TRAINING
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        places = tuple(str(one.absolute()) for one in datasets)
        config = None if self.learning.config is None else str(self.learning.config.absolute())
        return Task(str(self._offers[name].folder), places, str(work.absolute()), minutes, config, self.learning.device)

    def _watch(self, process: subprocess.Popen[str], training: Training) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._hear(line, training)
        process.wait()
        with self._lock:
            if training.status == "RUNNING":
                if process.returncode == 0:
                    self._offer(training)
                else:
                    self._end("ERROR", "" if process.returncode == 1 else "expected training to finish, got it killed")
            shutil.rmtree(self._folder / TRAINING, ignore_errors=True)
            self._process = None
        if process.stdin is not None:
            process.stdin.close()

    def _hear(self, line: str, training: Training) -> None:
        try:
            told = json.loads(line)
        except ValueError:  # printed by a library
            return
        if "line" in told:
            training.lines.append(str(told["line"])[:500])
        else:
            training.share, training.dice = told["share"], told["dice"]

    def _offer(self, training: Training) -> None:
        """Add the best model of the run to the server's, under a new name."""
        name = next_name(training.model, self._offers)
        place = self._folder / TRAINED / name
        try:
            place.parent.mkdir(exist_ok=True)
            with whole_folder(place) as aside:
                shutil.copytree(self._folder / TRAINING / RUN / "best", aside, dirs_exist_ok=True)
            self._offers |= offers_of([place])
        except Exception as error:
            self._end("ERROR", f"expected a trained model, got {type(error).__name__}; check the disk")
            return
        training.share, training.result = 1.0, name
        self._end("DONE", f"offered as {name}")

    def _end(self, status: str, line: str) -> None:
        assert self.last is not None
        self.last.status, self.last.ended = status, _now()
        if line:
            self.last.lines.append(line)
        self._keep()

    def _keep(self) -> None:
        assert self.last is not None
        self._database.set_fact(_FACT, json.dumps(vars(self.last) | {"lines": list(self.last.lines)}))


def next_name(model: str, taken: Mapping[str, Any]) -> str:
    """Return the name for a model trained from another.

    Args:
        model: Name of the other model.
        taken: Names in use.

    Example:
        >>> next_name("body", {"body": 1}), next_name("body-2", {"body": 1, "body-2": 1})
        ('body-2', 'body-3')
    """
    stem = re.sub(r"-\d+$", "", model) if re.sub(r"-\d+$", "", model) in taken else model
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and its children."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        children = []
    process.kill()
    for child in children:
        try:
            child.kill()
        except psutil.Error:
            continue


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d %H:%M:%S")
