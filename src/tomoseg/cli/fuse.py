"""`tomoseg fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.language.words import say
from tomoseg.options import AUTO, Compute
from tomoseg.terminal.rows import CASES_OF, progress


def fuse(
    models: Positional[tuple[Path, ...]],
    output: Output,
    on: Annotated[Path, arg(metavar="PREPROCESSED")],
    split: str = "validation",
    least_dice: float = 0.0,
    config: Path | None = None,
    compute: Annotated[Compute, arg(name="")] = AUTO,
) -> int:
    """Combine models trained on different views (axial, coronal, sagittal) into one model.

    Train each model on the dataset preprocessed with another --grid.view. The weight of each view per structure is
    chosen on held-out cases, separately for short scans.

    Args:
        models: Two or more model or run folders, each of another view.
        output: Model folder to write.
        on: A preprocessed dataset of the axial view with the models' structures and grid.
        split: Cases of that dataset to choose the weights on.
        least_dice: Structures whose Dice on these cases is lower are segmented only on request (`tomoseg
            predict --all` or --roi-subset).
        config: YAML file of engine, device, precision, batch_size and max_memory; flags override it.
        compute: The engine, device and precision that run the networks.
    """
    from tomoseg.terminal.fusing import show_fused
    from tomoseg.workflows.fuse import fuse as run

    with progress(say("fuse"), count=CASES_OF) as show:
        fused = run(models, on, output, split=split, least_dice=least_dice, compute=compute, on_case=show)
    show_fused(fused)
    return DONE
