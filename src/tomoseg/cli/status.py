"""`tomoseg status`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.exits import DONE, SOME_FAILED


def status(place: Positional[Path], json: bool = False) -> int:
    """Show the progress of the workers that share a results folder (predict --join, --on slurm).

    Args:
        place: The results folder that they write to.
        json: Print the progress as JSON.
    """
    from tomoseg.terminal.console import out
    from tomoseg.terminal.sharing import show_status
    from tomoseg.workflows.sharing import status as look

    found = look(place)
    if json:
        out.print(found.to_json(), soft_wrap=True, markup=False, highlight=False)
    else:
        show_status(found)
    return SOME_FAILED if found.failed else DONE
