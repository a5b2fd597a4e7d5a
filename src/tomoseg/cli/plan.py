"""`tomoseg plan`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.options import MemorySize
from tomoseg.terminal import console


def plan(
    dataset: Positional[Path],
    output: MaybeOutput = None,
    minutes: float | None = None,
    memory: MemorySize | None = None,
) -> int:
    """Choose settings for a dataset, each with its reason, from what it is, the minutes and the memory.

    Some seconds of training are measured on this machine. preprocess and train choose by the same rules where they are
    told nothing else.

    Args:
        dataset: A folder of labelled scans, or a preprocessed dataset, whose grid then stays.
        output: A YAML file of the settings, which preprocess and train take as their config.
        minutes: How long training may take, validations included; 60 if omitted.
        memory: What training may take, such as 8GB; what is free if omitted.
    """
    from tomoseg.terminal.planning import show_plan_of_dataset
    from tomoseg.workflows.plan import Asked, check_asked, write_plan
    from tomoseg.workflows.plan import plan as run

    asked = Asked(minutes, memory)
    check_asked(asked, output)
    with console.progress("looking at cases") as show:
        found = run(dataset, asked, show)
    show_plan_of_dataset(found)
    if output is not None:
        write_plan(found, output)
        console.out.print(f"The settings are in {output}; --config of preprocess and train takes it")
    return SOME_FAILED if found.failed else DONE
