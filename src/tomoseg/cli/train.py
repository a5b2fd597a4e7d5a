"""`tomoseg train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output, is_planned
from tomoseg.cli.exits import DONE, STOPPED
from tomoseg.config import TRAIN_PRESETS, PlannedName, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.options import MemorySize


def train(
    preprocessed: Positional[Path],
    output: Output,
    preset: PlannedName | None = None,
    config: Path | None = None,
    force: bool = False,
    plan: bool = False,
    max_memory: MemorySize | None = None,
    settings: Annotated[TrainConfig, arg(name="")] = TRAIN_PRESETS["default"],
) -> int:
    """Train a network, or go on with the run that is in the output folder.

    Args:
        preprocessed: A preprocessed dataset.
        output: The run folder.
        preset: Settings to start from: planned ones, or a fixed set; if omitted, planned, or default beside a config.
        config: YAML file of settings put over the preset.
        force: Go on with a run that began with other settings; if omitted, they are refused by name.
        plan: Only measure what training takes in memory, and say which batch size and accumulation fit; nothing is
            written.
        max_memory: With --plan, what there is, such as 8GB; what is free if omitted.
        settings: Settings put over both.

    Raises:
        ConfigError: If max_memory is given without plan.
    """
    from tomoseg.terminal.stopping import stop_on_signal
    from tomoseg.terminal.training import show_outcome, watch

    if plan:
        from tomoseg.terminal.plan import show_plan
        from tomoseg.workflows.train import plan_run

        if is_planned(preset, config):
            settings = _planned(preprocessed, output, settings)
        show_plan(plan_run(preprocessed, settings, max_memory), settings.batch_size * settings.accumulation)
        return DONE
    if max_memory is not None:
        raise ConfigError("expected --plan beside --max-memory, got it alone; run with --plan, then use what it says")
    with stop_on_signal() as stop, watch(stop) as listener:
        listener.on_stage("loading PyTorch")
        from tomoseg.workflows.train import train_run

        if is_planned(preset, config):
            listener.on_stage("looking at the dataset, and measuring some steps")
            settings = _planned(preprocessed, output, settings)
        outcome = train_run(preprocessed, output, settings, listener, force=force)
    show_outcome(outcome, output)
    return DONE if outcome.finished else STOPPED


def _planned(preprocessed: Path, output: Path, settings: TrainConfig) -> TrainConfig:
    """Settings planned for a dataset, which are shown."""
    from tomoseg.terminal.planning import show_planned_training
    from tomoseg.workflows.planned import planned_training

    planned, plan = planned_training(preprocessed, output, settings)
    if plan is not None:
        show_planned_training(plan)
    return planned
