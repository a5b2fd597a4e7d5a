"""Recording a run with TensorBoard, in its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from tomoseg.config import TrainConfig
from tomoseg.settings import config_yaml
from tomoseg.training.recorders import Per

FOLDER = "tensorboard"
"""Name of the folder in the run folder."""


class TensorBoardRecorder:
    """A `recorders.Recorder` for TensorBoard.

    Args:
        run: The run folder.
        config: The settings.
    """

    def __init__(self, run: Path, config: TrainConfig) -> None:
        self._writer = SummaryWriter(str(run / FOLDER))
        self._writer.add_text("settings", f"```yaml\n{config_yaml(config)}```")

    def numbers(self, values: Mapping[str, float], at: int, per: Per) -> None:
        """Implement `Recorder`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, at)

    def picture(self, name: str, file: Path, epoch: int) -> None:
        """Implement `Recorder`."""
        self._writer.add_image(f"pictures/{name}", imread(file)[:, :, :3], epoch, dataformats="HWC")

    def close(self, *, failed: bool) -> None:
        """Implement `Recorder`."""
        self._writer.close()
