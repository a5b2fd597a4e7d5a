"""Task of a training process, passed by the server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

RUN = "run"
"""Run folder, in the training's folder."""


@dataclass(frozen=True)
class Task:
    """A training.

    Attributes:
        model: Folder of the model that it starts from.
        datasets: Folders of labelled scans, which are combined.
        folder: The training's folder, which is empty.
        minutes: Time limit.
        config: YAML file with settings of training; None for planned ones.
        device: Device of training.
    """

    model: str
    datasets: tuple[str, ...]
    folder: str
    minutes: float
    config: str | None = None
    device: str = "auto"

    def to_json(self) -> str:
        """Return the task as JSON, for the command line of the process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Parse the task from the command line."""
        given = json.loads(text)
        return cls(**given | {"datasets": tuple(given["datasets"])})
