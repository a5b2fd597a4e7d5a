"""`tomoseg evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.language.words import say
from tomoseg.options import AS_DEFINED, AS_IN_TRAINING, Compute, EvaluateOptions
from tomoseg.terminal.rows import CASES_OF, progress


def evaluate(
    predicted: Positional[Path],
    reference: Positional[Path],
    output: MaybeOutput = None,
    config: Path | None = None,
    options: Annotated[EvaluateOptions, arg(name="")] = AS_DEFINED,
    compute: Annotated[Compute, arg(name="")] = AS_IN_TRAINING,
) -> int:
    """Score a model on a preprocessed dataset, or masks against reference masks.

    Whole volumes are scored, each on the reference's own grid.

    Args:
        predicted: A model folder or a run folder; or masks: label maps with the names of their labels, mask
            files, or a dataset.
        reference: For a model, a preprocessed dataset with the model's grid and at least one of its structures;
            for masks, the reference masks.
        output: Folder to write scores.csv, ranking.csv, summary.json, report.html and pictures to.
        config: YAML file of the options below; flags override it.
        options: What to score, how, and what to draw.
        compute: The engine, device and precision that run a model's network.
    """
    from tomoseg.terminal.scores import show_evaluation
    from tomoseg.workflows.evaluate import evaluate as run

    with progress(say("evaluate"), count=CASES_OF) as show:
        result = run(predicted, reference, options, output=output, compute=compute, on_case=show)
    show_evaluation(result, str(options.against), output)
    return SOME_FAILED if result.failed else DONE
