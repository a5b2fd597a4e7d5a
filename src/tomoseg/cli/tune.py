"""`tomoseg tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.exits import DONE
from tomoseg.options import AUTO, Compute, SplitName
from tomoseg.terminal import console


def tune(
    model: Positional[Path],
    preprocessed: Positional[Path],
    split: SplitName = "auto",
    config: Path | None = None,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Find out which thresholds, smoothing and post-processing help a model; predict then uses them.

    Args:
        model: A model folder or a run folder; what is found goes into it as tuned.json, and temperatures for its
            probabilities as calibrated.json.
        preprocessed: A preprocessed dataset with the model's grid, and its structures or some of them.
        split: The cases that choose; auto is those that no training saw: of a run of folds every patient by the network
            that had not seen them, else validation.
        config: YAML file of engine, device, precision, batch_size and max_memory; flags are put over it.
        compute: What computes the network, where, and in what.
    """
    from tomoseg.terminal.tuning import show_choices
    from tomoseg.workflows.tune import tune as run

    with console.progress("tune") as show:
        tuned, choices = run(model, preprocessed, split, compute, show)
    show_choices(tuned, choices)
    return DONE
