"""What a training that a client started is told, by the server that starts its process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

RUN = "run"
"""The run folder, within the training's own."""


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        model: Folder of the model that it starts from.
        datasets: Folders of labelled scans, which become one dataset.
        folder: The training's own, which is empty.
        minutes: How long it may train.
        config: YAML file of settings of training; None to have them planned.
        device: What trains.
    """

    model: str
    datasets: tuple[str, ...]
    folder: str
    minutes: float
    config: str | None = None
    device: str = "auto"

    def to_json(self) -> str:
        """As it stands on the command line of the process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """What the process was started with."""
        given = json.loads(text)
        return cls(**given | {"datasets": tuple(given["datasets"])})
