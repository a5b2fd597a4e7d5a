"""What came of preprocessing, in the terminal."""

from __future__ import annotations

from pathlib import Path

from tomoseg.language.words import all_later, say, say_many
from tomoseg.terminal.ceilings import show_ceilings
from tomoseg.terminal.console import fail, out, warn_all
from tomoseg.terminal.holdings import show_holdings
from tomoseg.workflows.preprocess import PreprocessReport

all_later("train", "validation", "test")
"""The splits."""


def show_preprocessed(report: PreprocessReport, output: Path) -> None:
    """What the dataset holds, what the grid leaves of it, the cases of each split, and those that failed."""
    show_holdings(report.holdings)
    show_ceilings(report.ceilings)
    noticed = [text for text in report.warnings if text not in report.left_out]
    warn_all(noticed, elsewhere=say("case.json of each case lists its own"))
    splits = list(report.splits.values())
    counts = ", ".join(f"{splits.count(split)} {say(split)}" for split in ("train", "validation", "test"))
    left = say("; {count} left out", count=len(report.left_out)) if report.left_out else ""
    cases = say_many(len(report.records), "1 case", "{count} cases")
    out.print(
        say("{cases} ({layout}) in {folder}: ", cases=cases, layout=say(report.layout), folder=output) + counts + left
    )
    fail(report.failed)
