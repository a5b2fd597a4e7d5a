"""What came of preprocessing, in the terminal."""

from __future__ import annotations

from pathlib import Path

from tomoseg.terminal.ceilings import show_ceilings
from tomoseg.terminal.console import fail, out, warn_all
from tomoseg.workflows.preprocess import PreprocessReport


def show_preprocessed(report: PreprocessReport, output: Path) -> None:
    """What the grid leaves of structures, the cases of each split, and those that were left out."""
    show_ceilings(report.ceilings)
    warn_all(report.warnings)
    splits = list(report.splits.values())
    counts = ", ".join(f"{splits.count(split)} {split}" for split in ("train", "validation", "test"))
    out.print(f"{len(report.records)} cases ({report.layout}) in {output}: {counts}")
    fail(report.failed)
