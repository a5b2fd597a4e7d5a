"""The course of a run for TensorBoard, which is optional: `pip install "tomoseg[tensorboard]"`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError
from tomoseg.training.listener import Listener, Step

FOLDER = "tensorboard"
"""In the run folder."""


@contextmanager
def tensorboard_beside(listener: Listener, run: Path, *, wanted: bool) -> Iterator[Listener]:
    """A listener that also writes what it is told for TensorBoard.

    Args:
        listener: Told as before.
        run: The run folder.
        wanted: Otherwise it is the same listener.

    Raises:
        ConfigError: If TensorBoard is not installed.
    """
    if not wanted:
        yield listener
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError('expected TensorBoard, found none; run: pip install "tomoseg[tensorboard]", or leave it off')
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / FOLDER)) as writer:

        def on_step(step: Step) -> None:
            number = (step.epoch - 1) * step.steps + step.step
            for name, value in (
                ("train/loss", step.loss),
                ("train/learning_rate", step.learning_rate),
                ("train/slices_per_second", step.slices_per_second),
            ):
                writer.add_scalar(name, value, number)
            listener.on_step(step)

        def on_epoch(record: dict[str, Any]) -> None:
            named = {f"dice/{name}": dice for name, dice in record.get("dice", {}).items()}
            named |= {f"validation/{name}": record.get(f"validation_{name}") for name in ("loss", "dice", "iou")}
            named["train/curriculum_share"] = record.get("curriculum_share")
            for name, value in named.items():
                if value is not None:
                    writer.add_scalar(name, value, record["epoch"])
            listener.on_epoch(record)

        yield replace(listener, on_step=on_step, on_epoch=on_epoch)
