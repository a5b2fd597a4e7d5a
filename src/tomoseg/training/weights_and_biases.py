"""Recording a run with Weights & Biases, offline by default.

It is written to `RUN/wandb`; `wandb sync RUN/wandb/offline-run-*` uploads it. With WANDB_MODE=online in the
environment it is uploaded at once. W&B's own records of the machine, the command and the code are switched off.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tomoseg.config import TrainConfig
from tomoseg.files.atomic import write_whole_text
from tomoseg.training.recorders import Per
from tomoseg.training.run_folder import run_name

FOLDER, ID = "wandb", "run-id"
"""Folder in the run folder; in it, the file with the ID of W&B's run."""

PROJECT = "tomoseg"


class WandbRecorder:
    """A `recorders.Recorder` for Weights & Biases.

    Args:
        run: The run folder.
        config: The settings.
    """

    def __init__(self, run: Path, config: TrainConfig) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._wandb: Any = import_module("wandb")
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        known = folder / ID
        run_id = (known.read_text(encoding="utf-8") if known.is_file() else "") or secrets.token_hex(8)
        settings = self._wandb.Settings(
            mode=os.environ.get("WANDB_MODE") or "offline",
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
        )
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=run_id,
            name=run_name(run),
            resume="allow",
            dir=str(run),
            config=config.model_dump(mode="json"),
            settings=settings,
        )
        write_whole_text(known, run_id)
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("epoch", hidden=True)

    def numbers(self, values: Mapping[str, float], at: int, per: Per) -> None:
        """Implement `Recorder`."""
        for name in values:
            self._run.define_metric(name, step_metric=per)
        self._run.log({**values, per: at})

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Implement `Recorder`."""
        self._run.define_metric(f"pictures/{name}", step_metric="epoch")
        self._run.log({f"pictures/{name}": self._wandb.Image(str(file)), "epoch": epoch})

    def close(self, *, failed: bool) -> None:
        """Implement `Recorder`."""
        self._run.finish(exit_code=int(failed))
