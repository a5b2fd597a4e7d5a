"""What became of each scan that was segmented, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tomoseg.models.tuned import LEAST_PATIENTS
from tomoseg.notices import gathered
from tomoseg.terminal.console import err, fail, out, table, warn_all
from tomoseg.workflows.prediction_record import OVERLAPPING, ScanDone
from tomoseg.workflows.scans import FoundScans
from tomoseg.workflows.triage import ranked


def show_found(found: FoundScans) -> None:
    """Which scans there are, and what is left out and why; nothing of a scan that was named itself."""
    if len(found.scans) != 1 or found.left_out or found.others:
        err.print(found.summary())


def show_predictions(results: Sequence[ScanDone]) -> None:
    """Where each result is, what computed them in how much memory, which to look at first, and which failed."""
    last = None
    noticed = ((result.scan.name, n.without(result.scan.path)) for result in results for n in result.warnings)
    warn_all(gathered(noticed), elsewhere="prediction.json of each scan has its own")
    for result in results:
        if result.record is not None:
            out.print(f"{result.scan.name}: {result.scan.output} ({_took(result.record, result.skipped)})")
            last = last if result.skipped else result.record
    if last is not None:
        engine = last["engine"]
        peak = last["peak_memory_bytes"] / 2**30
        out.print(
            f"{engine['name']} {engine['precision']} on {engine['device']}, peak memory {peak:.2f} GiB{_tuned(last)}"
        )
    show_triage(results)
    fail({result.scan.name: result.error for result in results if result.error is not None})


def _tuned(record: Mapping[str, Any]) -> str:
    """That the model's tuning was used, and what chose it."""
    if "tuned" not in record:
        return ""
    cases = record["tuned"]["cases"]
    chosen = "" if cases is None else f" on {cases} cases"
    few = cases is not None and cases < LEAST_PATIENTS
    advice = ", too few: tune it anew, or predict with --no-tuned" if few else "; --no-tuned leaves that out"
    return f"; the model is tuned{chosen}{advice}"


def _took(record: Mapping[str, Any], skipped: bool) -> str:
    seconds = sum(taken for stage, taken in record["seconds"].items() if stage not in OVERLAPPING)
    return "done before" if skipped else f"{seconds:.1f} s"


def show_triage(results: Sequence[ScanDone]) -> None:
    """The scans by the model's own rating, the lowest first; of one scan a line; nothing if not asked for."""
    rows = ranked(results)
    if len(rows) > 1:
        columns = ("scan", "rank", "self-rating", "lowest structure", "of that", "found", "")
        shown = [
            (row.scan, place, row.rating, row.lowest or None, row.least, row.found, row.reason)
            for place, row in enumerate(rows, start=1)
        ]
        table("To be looked at first: a rank by how sure the model is, no Dice", columns, shown)
    for row in rows if len(rows) == 1 else ():
        rating = f"- ({row.reason})"
        if row.rating is not None:
            rating = f"{row.rating:.3f}, lowest {row.lowest} {row.least:.3f}: a rank among scans of this model, no Dice"
        out.print(f"self-rating {rating}; structures found: {row.found}")
