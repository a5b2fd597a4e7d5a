"""`tomoseg check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from tomoseg.cli.arguments import MaybeOutput
from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.language.words import say
from tomoseg.options import HERE, Spread
from tomoseg.terminal import console
from tomoseg.terminal.rows import CASES_OF, progress


def check(
    dataset: Positional[Path],
    output: MaybeOutput = None,
    config: Path | None = None,
    spread: Annotated[Spread, arg(name="")] = HERE,
) -> int:
    """Check a dataset before training: what is broken in it, and which cases are unlike the rest.

    Args:
        dataset: A folder of labelled scans; its layout is detected automatically.
        output: Folder to write check.json and check.html to, a self-contained page.
        config: YAML file of the options below; flags override it.
        spread: Where the cases are checked.
    """
    from tomoseg.terminal.datasets import show_dataset
    from tomoseg.terminal.findings import show_findings
    from tomoseg.workflows.check import check as run

    with progress(say("check"), count=CASES_OF) as show:
        report = run(dataset, output, lambda name, done, total: show(done, total, name), show_dataset, spread)
    show_findings(report)
    if output is not None:
        console.out.print(say("All on a page in {path}", path=output / "check.html"))
    return SOME_FAILED if report.errors or report.left_out else DONE
