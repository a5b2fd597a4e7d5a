"""`tomoseg preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.config import TRAIN_PRESETS, PresetName, TrainConfig
from tomoseg.terminal import console


def preview(
    preprocessed: Positional[Path],
    output: Output = Path("preview.png"),
    preset: PresetName = "default",
    config: Path | None = None,
    settings: Annotated[TrainConfig, arg(name="")] = TRAIN_PRESETS["default"],
) -> int:
    """Draw 16 training slices as the network will be shown them, and what was done to each.

    Args:
        preprocessed: A preprocessed dataset.
        output: The PNG file.
        preset: Settings of the training to start from.
        config: YAML file of settings put over the preset.
        settings: Settings put over both, as train takes them.
    """
    from tomoseg.workflows.preview import preview as run

    drawn = run(preprocessed, output, settings)
    console.out.print(f"{drawn} training slices in {output}")
    return DONE
