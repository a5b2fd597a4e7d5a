"""`tomoseg tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.exits import DONE
from tomoseg.options import AUTO, Compute, SplitName


def tune(
    model: Positional[Path],
    preprocessed: Positional[Path],
    split: SplitName = "auto",
    config: Path | None = None,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Choose the thresholds, smoothing and post-processing that predict then uses with a model.

    Args:
        model: A model folder or a run folder; the chosen settings are written into it as tuned.json, and the
            temperatures that calibrate its probabilities as calibrated.json.
        preprocessed: A preprocessed dataset with the model's grid and at least one of its structures.
        split: Cases to choose the settings on. auto takes cases that were not trained on: all out-of-fold cases
            of a cross-validation run, otherwise the validation cases.
        config: YAML file of engine, device, precision, batch_size and max_memory; flags override it.
        compute: The engine, device and precision that run the network.
    """
    from tomoseg.terminal.tuning import show_choices, watch_tuning

    with watch_tuning() as (on_case, on_structure):
        from tomoseg.workflows.tune import tune as run

        tuned, choices = run(model, preprocessed, split, compute, on_case, on_structure)
    show_choices(tuned, choices)
    return DONE
