"""`tomoseg plan`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.language.words import say
from tomoseg.options import MemorySize
from tomoseg.terminal import console
from tomoseg.terminal.rows import CASES_OF, progress


def plan(
    dataset: Positional[Path],
    output: MaybeOutput = None,
    minutes: float | None = None,
    memory: MemorySize | None = None,
) -> int:
    """Choose settings for a dataset, a training time and a memory limit, and give the reason for each.

    A few seconds of training are timed on this machine. `tomoseg preprocess` and `tomoseg train` follow the same rules
    if they are given no preset and no settings file.

    Args:
        dataset: A folder of labelled scans, or a preprocessed dataset, whose grid is then kept.
        output: YAML file to write the settings to; preprocess and train read it with --config.
        minutes: Training time in minutes, validations included; 60 if omitted.
        memory: Maximum memory for training, such as 8GB; if omitted, the memory that is free.
    """
    from tomoseg.terminal.planning import show_plan_of_dataset
    from tomoseg.workflows.plan import PlanRequest, check_asked, write_plan
    from tomoseg.workflows.plan import plan as run

    asked = PlanRequest(minutes, memory)
    check_asked(asked, output)
    with progress(say("reading cases"), count=CASES_OF) as show:
        found = run(dataset, asked, show)
    show_plan_of_dataset(found)
    if output is not None:
        write_plan(found, output)
        console.out.print(
            say("The settings are in {path}; pass them to preprocess and train with --config", path=output)
        )
    return SOME_FAILED if found.failed else DONE
