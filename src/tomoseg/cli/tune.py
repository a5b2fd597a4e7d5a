"""`tomoseg tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.exits import DONE
from tomoseg.options import AUTO, Compute
from tomoseg.terminal import console


def tune(
    model: Positional[Path],
    preprocessed: Positional[Path],
    split: str = "validation",
    config: Path | None = None,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Find out which thresholds, smoothing and post-processing help a model; predict then uses them.

    Args:
        model: A model folder or a run folder; what is found goes into it as tuned.json.
        preprocessed: A preprocessed dataset with the model's structures and grid.
        split: The cases that choose: validation or test.
        config: YAML file of engine, device, precision, batch_size and max_memory; flags are put over it.
        compute: What computes the network, where, and in what.
    """
    from tomoseg.terminal.tuning import show_choices
    from tomoseg.workflows.tune import tune as run

    with console.progress("tune") as show:
        tuned, choices = run(model, preprocessed, split, compute, show)
    show_choices(tuned, choices)
    return DONE
