"""What became of each scan that was segmented, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tomoseg.errors import counted
from tomoseg.models.tuned import LEAST_PATIENTS
from tomoseg.notices import gathered
from tomoseg.terminal.console import err, fail, out, table, warn_all
from tomoseg.workflows.prediction_record import OVERLAPPING, ScanDone
from tomoseg.workflows.scans import FoundScans
from tomoseg.workflows.triage import Rank, ranked


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
    gain = record["tuned"].get("gain")
    told = "" if gain is None else f", {gain:+.3f} Dice on patients that did not choose"
    return f"; the model is tuned{chosen}{_how(record)}{told}{advice}"


def _how(record: Mapping[str, Any]) -> str:
    """What decides otherwise than without tuning, in short."""
    counts = ((record.get("threshold", {}), "a threshold"), (record.get("postprocess", {}), "steps"))
    words = [f"{what} for {counted(len(of), 'structure')}" for of, what in counts if of]
    words += [f"smoothing {record['smoothing']:g}"] if record.get("smoothing") else []
    return f" ({', '.join(words)})" if words else ""


def _took(record: Mapping[str, Any], skipped: bool) -> str:
    seconds = sum(taken for stage, taken in record["seconds"].items() if stage not in OVERLAPPING)
    return "done before" if skipped else f"{seconds:.1f} s"


def show_triage(results: Sequence[ScanDone]) -> None:
    """The scans by the model's own rating, the lowest first; of one scan a line; nothing if not asked for."""
    rows = ranked(results)
    if len(rows) > 1:
        calibrated = all(row.calibrated for row in rows)
        figure = "expected Dice" if calibrated else "self-rating"
        columns = ("scan", "rank", figure, "lowest structure", "of that", "found", "")
        shown = [
            (row.scan, place, row.rating, row.lowest or None, row.least, row.found, row.reason)
            for place, row in enumerate(rows, start=1)
        ]
        why = "the lowest expected Dice" if calibrated else "a rank by how sure the model is, no Dice"
        table(f"To be looked at first: {why}", columns, shown)
    for row in rows if len(rows) == 1 else ():
        out.print(_rated(row))


def _rated(row: Rank) -> str:
    """The rating of an only scan."""
    rating, figure = f"- ({row.reason})", "expected Dice" if row.calibrated else "self-rating"
    if row.rating is not None:
        rating = f"{row.rating:.3f}, lowest {row.lowest} {row.least:.3f}"
        rating += "" if row.calibrated else ": a rank among scans of this model, no Dice"
    return f"{figure} {rating}; structures found: {row.found}"
