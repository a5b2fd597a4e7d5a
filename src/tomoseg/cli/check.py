"""`tomoseg check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.options import HERE, Spread
from tomoseg.terminal import console


def check(
    dataset: Positional[Path],
    output: MaybeOutput = None,
    config: Path | None = None,
    spread: Annotated[Spread, arg(name="")] = HERE,
) -> int:
    """Look at a dataset before it is learned: what is broken, and what is unlike the rest.

    Args:
        dataset: A folder of labelled scans; its layout is found by looking.
        output: Folder for check.json and check.html, a page that needs no other file.
        config: YAML file of the options below; flags are put over it.
        spread: Who looks at the cases.
    """
    from tomoseg.terminal.datasets import show_dataset
    from tomoseg.terminal.findings import show_findings
    from tomoseg.workflows.check import check as run

    with console.progress("check") as show:
        report = run(dataset, output, lambda name, done, total: show(done, total, name), show_dataset, spread)
    show_findings(report)
    if output is not None:
        console.out.print(f"All on a page in {output / 'check.html'}")
    return SOME_FAILED if report.errors or report.left_out else DONE
