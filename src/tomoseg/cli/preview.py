"""`tomoseg preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.config import TRAIN_PRESETS, PresetName, TrainConfig
from tomoseg.language.words import say
from tomoseg.terminal import console
from tomoseg.terminal.rows import progress


def preview(
    preprocessed: Positional[Path],
    output: Output = Path("preview.png"),
    preset: PresetName = "default",
    config: Path | None = None,
    settings: Annotated[TrainConfig, arg(name="")] = TRAIN_PRESETS["default"],
) -> int:
    """Draw 16 augmented training slices as the network sees them, and how each was changed.

    Args:
        preprocessed: A preprocessed dataset.
        output: PNG file to write.
        preset: Training settings to start from.
        config: YAML file of settings that override the preset.
        settings: Settings that override both, as for `tomoseg train`.
    """
    with progress(say("draw")):
        from tomoseg.workflows.preview import preview as run

        drawn = run(preprocessed, output, settings)
    console.out.print(say("{count} training slices in {path}", count=drawn, path=output))
    return DONE
