"""What became of each scan that was segmented, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tomoseg.models.tuned import LEAST_PATIENTS
from tomoseg.notices import Notice, gathered
from tomoseg.terminal.console import fail, out, table, warn_all
from tomoseg.workflows.prediction_record import OVERLAPPING, ScanDone
from tomoseg.workflows.triage import ranked


def show_predictions(results: Sequence[ScanDone]) -> None:
    """Where each result is, what computed them in how much memory, which to look at first, and which failed."""
    last = None
    warn_all(gathered((result.scan.name, _without_path(n, result)) for result in results for n in result.warnings))
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


def _without_path(notice: Notice, result: ScanDone) -> Notice:
    """As it is the same for all scans, whose name is put before it."""
    return replace(notice, message=notice.message.removeprefix(f"{result.scan.path}: "))


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
    """The scans by the Dice that may be expected of them, the worst first; nothing if that was not asked for."""
    rows = [(r.scan, r.dice, r.worst, r.least, r.found) for r in ranked(results)]
    if rows:
        columns = ("scan", "expected Dice", "its worst structure", "of that", "structures found")
        table("To be looked at first", columns, rows)
