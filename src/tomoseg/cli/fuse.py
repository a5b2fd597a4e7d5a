"""`tomoseg fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.options import AUTO, Compute
from tomoseg.terminal import console


def fuse(
    models: Positional[tuple[Path, ...]],
    output: Output,
    on: Annotated[Path, arg(metavar="PREPROCESSED")],
    split: str = "validation",
    least_dice: float = 0.0,
    config: Path | None = None,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Make one model of several that look at the body from several sides.

    Train each on the dataset preprocessed with another --grid.view. How much each counts for each structure is chosen
    on held-out cases, for short scans apart.

    Args:
        models: Model or run folders, two or more, each of another view.
        output: The model's folder.
        on: A preprocessed dataset of axial view with the models' structures and grid.
        split: Its cases that choose.
        least_dice: Structures that the cases that choose give a lower Dice are found only when they are asked for.
        config: YAML file of engine, device, precision, batch_size and max_memory; flags are put over it.
        compute: What computes the networks, where, and in what.
    """
    from tomoseg.terminal.fusing import show_fused
    from tomoseg.workflows.fuse import fuse as run

    with console.progress("fuse") as show:
        fused = run(models, on, output, split=split, least_dice=least_dice, compute=compute, on_case=show)
    show_fused(fused)
    return DONE
