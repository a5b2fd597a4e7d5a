"""What looks wrong about a dataset, in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from tomoseg.checks.findings import CheckReport, Finding, Level, kind_in_words
from tomoseg.language.sentences import sentence
from tomoseg.language.words import say, say_many
from tomoseg.notices import MOST_NAMED, gathered_texts
from tomoseg.terminal.console import out, table, warn_all
from tomoseg.terminal.holdings import show_holdings


def show_findings(report: CheckReport) -> None:
    """What a dataset holds, what looks wrong about it, errors first, and how much of that there is."""
    show_holdings(report.holdings)
    for line in finding_lines(report.findings):
        out.print(line)
    warn_all([text for text in report.warnings if text not in report.left_out])
    counts = Counter(f"{_level(finding.level)} {kind_in_words(finding.kind)}" for finding in report.findings)
    if counts:
        table(say("Findings"), (say("kind"), say("count")), list(counts.items()))
    cases = say_many(report.cases, "1 case", "{count} cases")
    masks = say_many(report.masks, "1 mask", "{count} masks")
    errors = say_many(report.errors, "1 error", "{count} errors")
    warnings = say_many(len(report.findings) - report.errors, "1 warning", "{count} warnings")
    about = (
        say("; masks concerned: {count} of {masks}", count=report.flagged_masks, masks=masks)
        if report.flagged_masks
        else ""
    )
    left = say("; {count} left out", count=len(report.left_out)) if report.left_out else ""
    counted = {"cases": cases, "masks": masks, "errors": errors, "warnings": warnings}
    out.print(say("{cases}, {masks}: {errors}, {warnings}", **counted) + about + left)


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each finding, and one for all scans of which the same is said but for numbers.

    Args:
        findings: Those of a level and kind one after the other.
    """
    for (level, kind), group in groupby(findings, key=lambda finding: (finding.level, finding.kind)):
        alike = list(group)
        of_scans = [one for one in alike if one.case and one.structure is None]
        most_named = MOST_NAMED if alike[0].weight == 2 else None
        together = gathered_texts([(one.case, one.text) for one in of_scans], most_named)
        others = [_placed(one) for one in alike if one not in of_scans]
        for text in (*map(sentence, together), *others):
            yield f"{_level(level)} " + say("{name}: {text}", name=kind_in_words(kind), text=text)


def _level(level: Level) -> str:
    return say("error:") if level == "error" else say("warning:")


def _placed(finding: Finding) -> str:
    """A finding by the name of its case and structure, as far as it has them."""
    where = " ".join(filter(None, (finding.case, finding.structure)))
    text = sentence(finding.text)
    return say("{name}: {text}", name=where, text=text) if where else text
