"""What looks wrong about a dataset, in the terminal."""

from __future__ import annotations

from collections import Counter

from tomoseg.checks.findings import CheckReport
from tomoseg.terminal.console import out, table, warn_all


def show_findings(report: CheckReport) -> None:
    """What looks wrong about a dataset, errors first, and how much of it there is."""
    for finding in report.findings:
        where = " ".join(part for part in (finding.case, finding.structure) if part)
        out.print(": ".join(part for part in (finding.level, finding.kind, where, finding.text) if part))
    warn_all(report.warnings)
    counts = Counter(f"{finding.level}: {finding.kind}" for finding in report.findings)
    if counts:
        table("Found", ("what", "times"), list(counts.items()))
    share = f" ({100 * report.flagged_masks / report.masks:.1f} %)" if report.masks else ""
    out.print(
        f"{report.cases} cases, {report.masks} masks: {report.errors} errors, "
        f"{len(report.findings) - report.errors} warnings; something is said of {report.flagged_masks} masks{share}"
    )
