"""What looks wrong about a dataset, in the terminal."""

from __future__ import annotations

from collections import Counter

from tomoseg.checks.findings import CheckReport
from tomoseg.errors import counted
from tomoseg.terminal.console import out, table, warn_all
from tomoseg.terminal.holdings import show_holdings


def show_findings(report: CheckReport) -> None:
    """What a dataset holds, what looks wrong about it, errors first, and how much of that there is."""
    show_holdings(report.holdings)
    for finding in report.findings:
        where = " ".join(part for part in (finding.case, finding.structure) if part)
        out.print(": ".join(part for part in (finding.level, finding.kind, where, finding.text) if part))
    warn_all([text for text in report.warnings if text not in report.left_out])
    counts = Counter(f"{finding.level}: {finding.kind}" for finding in report.findings)
    if counts:
        table("Found", ("what", "times"), list(counts.items()))
    errors, masks = report.errors, f"{report.flagged_masks} of {counted(report.masks, 'mask')}"
    out.print(
        f"{counted(report.cases, 'case')}, {counted(report.masks, 'mask')}: {counted(errors, 'error')}, "
        f"{counted(len(report.findings) - errors, 'warning')}"
        + (f", about {masks}" if report.flagged_masks else "")
        + (f"; {len(report.left_out)} left out" if report.left_out else "")
    )
