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
    *,
    reorient: bool = False,
) -> int:
    """Convert a model that was trained with nnU-Net v2 to a tomoseg model.

    No code from its files is executed; unsupported features are named and refused. The model is used like any other:
    `tomoseg predict -m MODEL` produces the masks that nnU-Net produces.

    Args:
        source: A training folder (with plans.json and fold_0, for example), a dataset's results folder, or a
            ZIP file of either.
        output: Model folder to write.
        training: Which training to convert if there are several: the name of its folder,
            TRAINER__PLANS__CONFIGURATION.
        folds: Folds to use, such as 0 1 2, or all; if omitted, all numbered folds. Their logits are averaged.
        checkpoint: Checkpoint to use: final, or best according to nnU-Net's own validation.
        licence: Licence of the weights, as stated by their authors; if omitted, taken from a licence file next
            to them or from dataset.json.
        reorient: Reorient every scan to RAS before the network sees it, as TotalSegmentator does with its models; if
            omitted, as nnU-Net itself does with this training.
    """
    from tomoseg.terminal.fetching import watch_fetching
    from tomoseg.terminal.importing import show_imported

    with watch_fetching() as (_, on_step):
        on_step("reading")
        from tomoseg.workflows.import_model import Known, import_model

        made = import_model(
            source,
            output,
            training=training,
            folds=folds,
            checkpoint=checkpoint,
            licence=licence,
            known=Known(plan={"axes": "ras"} if reorient else {}),
            on_step=on_step,
        )
    show_imported(made)
    return DONE
