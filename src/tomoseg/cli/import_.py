"""`tomoseg import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE


def import_(
    source: Positional[Path],
    output: Output,
    training: str | None = None,
    folds: Annotated[tuple[str, ...], arg(metavar="FOLD [FOLD ...]")] = (),
    checkpoint: Literal["final", "best"] = "final",
    licence: str | None = None,
) -> int:
    """Make a model of ours of one that nnU-Net v2 trained.

    Nothing in its files is executed; what is not known here is refused by its name. The model is used as any other:
    `tomoseg predict -m MODEL` makes the masks that nnU-Net makes.

    Args:
        source: A training folder (with plans.json and fold_0 or the like), a dataset's folder, or a ZIP file of either.
        output: The model's folder.
        training: Which, where there are several: its folder's name, TRAINER__PLANS__CONFIGURATION.
        folds: Which folds, such as 0 1 2, or all; if omitted, every one that is numbered. Their logits are averaged.
        checkpoint: final, or best by nnU-Net's own validation.
        licence: What the weights may be used for, as their makers state it; if omitted, what a file beside them or
            dataset.json says.
    """
    from tomoseg.terminal.importing import show_imported
    from tomoseg.workflows.import_model import import_model

    show_imported(import_model(source, output, training=training, folds=folds, checkpoint=checkpoint, licence=licence))
    return DONE
