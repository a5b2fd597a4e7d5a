"""`tomoseg train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output, is_planned
from tomoseg.cli.exits import DONE, STOPPED
from tomoseg.config import TRAIN_PRESETS, PlannedName, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.options import MemorySize

if TYPE_CHECKING:
    from tomoseg.training.listener import Listener


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
    """Train a network, or continue the run in the output folder.

    Args:
        preprocessed: A preprocessed dataset.
        output: Run folder to write to.
        preset: Settings to start from: those planned for the dataset, or a fixed set. If omitted, planned, or
            default if --config is given.
        config: YAML file of settings that override the preset.
        force: Continue a run even if it began with other settings; if omitted, such settings are named and
            refused.
        plan: Only measure how much memory training needs, and print which batch size and accumulation fit;
            nothing is written.
        max_memory: With --plan, the memory limit, such as 8GB; if omitted, the memory that is free.
        settings: Settings that override both.

    Raises:
        ConfigError: If max_memory is given without plan.
    """
    from tomoseg.terminal.stopping import stop_on_signal
    from tomoseg.terminal.training import show_outcome, watch

    planned = is_planned(preset, config)
    if plan:
        _measure(preprocessed, output, settings, max_memory, planned=planned)
        return DONE
    if max_memory is not None:
        raise ConfigError(
            "expected --plan with --max-memory, got --max-memory alone; run with --plan, then use the sizes it prints"
        )
    with stop_on_signal() as stop, watch(stop, stop.at_once) as listener:
        listener.on_stage("loading PyTorch")
        with stop.at_once():
            from tomoseg.workflows.train import train_run

            if planned:
                settings = _planned(preprocessed, output, settings, listener)
        outcome = train_run(preprocessed, output, settings, listener, force=force)
    show_outcome(outcome, output)
    return DONE if outcome.finished else STOPPED


def _measure(preprocessed: Path, output: Path, settings: TrainConfig, max_memory: int | None, *, planned: bool) -> None:
    """Measure how much memory training needs, and show which batches fit."""
    from tomoseg.terminal.plan import show_plan
    from tomoseg.terminal.training import watch

    with watch() as listener:
        listener.on_stage("loading PyTorch")
        from tomoseg.workflows.train import plan_run

        if planned:
            settings = _planned(preprocessed, output, settings, listener)
        listener.on_stage("measuring the memory of a few training steps")
        found = plan_run(preprocessed, settings, max_memory)
    show_plan(found, settings.batch_size * settings.accumulation)


def _planned(preprocessed: Path, output: Path, settings: TrainConfig, listener: Listener) -> TrainConfig:
    """Plan the settings for a dataset, show the plan, and return them."""
    listener.on_stage("looking at the dataset and timing a few training steps")
    from tomoseg.terminal.planning import show_planned_training
    from tomoseg.workflows.planned import planned_training

    planned, plan = planned_training(preprocessed, output, settings)
    if plan is not None:
        show_planned_training(plan)
    return planned
