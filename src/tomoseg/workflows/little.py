"""Facts about a training run and its result, for `planning.little`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomoseg.config import TrainConfig
from tomoseg.planning.little import RunFound, StructureFound, why_little
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.views import unordered


def why_little_was_found(data: Preprocessed, config: TrainConfig, history: Sequence[dict[str, Any]]) -> list[str]:
    """Return reasons why a run ended near a Dice of 0 or without some structures; empty for other runs.

    Args:
        data: The training dataset.
        config: The settings.
        history: One record per epoch.
    """
    validated = [record for record in history if record.get("validation_dice") is not None]
    if not validated:
        return []
    return why_little(_found(data, config, history, max(validated, key=lambda record: record["validation_dice"])))


def _found(
    data: Preprocessed, config: TrainConfig, history: Sequence[dict[str, Any]], best: dict[str, Any]
) -> RunFound:
    training = data.split("train")
    slices_per_step = config.batch_size * config.accumulation
    steps = sum(_steps(record, len(training), config) for record in history)
    grid, scans = ([unordered(edges, data.grid.view) for edges in both] for both in _edges(training))
    losses = [record["train_loss"] for record in history if record.get("train_loss") is not None]
    return RunFound(
        dice=best["validation_dice"],
        slices=steps * slices_per_step,
        steps=steps,
        minutes=config.minutes,
        structures=tuple(_structures(data, training, best)),
        grid_mm=float(np.median([max(edges[:2]) for edges in grid])),
        scan_mm=float(np.median([max(edges[:2]) for edges in scans])),
        first_loss=losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
        emphasis_power=config.loss.emphasis_power,
    )


def _steps(record: dict[str, Any], cases: int, config: TrainConfig) -> int:
    """Return the steps of an epoch; for older records without them, those of a whole epoch."""
    slices_per_step = config.batch_size * config.accumulation
    return int(record.get("steps", -(-cases * config.sampling.slices_per_case // slices_per_step)))


def _edges(cases: Sequence[PreprocessedCase]) -> tuple[list[Any], list[Any]]:
    return [case.grid_spacing_mm for case in cases], [case.spacing_mm for case in cases]


def _structures(data: Preprocessed, training: Sequence[PreprocessedCase], best: dict[str, Any]) -> list[StructureFound]:
    found = []
    for channel, name in enumerate(data.labels.names):
        cases = [case.record for case in training if channel in case.record.ceiling]
        ceiling = float(np.median([record.ceiling[channel] for record in cases])) if cases else None
        found.append(StructureFound(name, best.get("dice", {}).get(name), len(cases), ceiling))
    return found
