"""What became of each scan that was segmented, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tomoseg.language.sentences import sentence
from tomoseg.language.words import later, pointed, say, say_many
from tomoseg.models.tuned import LEAST_PATIENTS
from tomoseg.notices import gathered
from tomoseg.terminal.console import err, fail, out, table, warn_all
from tomoseg.terminal.found import scans_in_words
from tomoseg.workflows.prediction_record import OVERLAPPING, ScanDone
from tomoseg.workflows.scans import FoundScans
from tomoseg.workflows.triage import Rank, ranked


def show_found(found: FoundScans) -> None:
    """Which scans there are, and what is left out and why; nothing of a scan that was named itself."""
    if len(found.scans) != 1 or found.left_out or found.others:
        err.print(scans_in_words(found))


def show_done(result: ScanDone) -> None:
    """Where the result of a scan is, or why there is none, as soon as that is known."""
    if result.error is not None:
        fail({result.scan.name: result.error})
    elif result.record is not None:
        where = f"{result.scan.output} ({_took(result.record, result.skipped)})"
        out.print(say("{name}: {text}", name=result.scan.name, text=where))


def show_failed(names: Sequence[str], scans: int) -> None:
    """Which of several scans failed, once more where all are done.

    Args:
        names: Their names.
        scans: How many scans there were.
    """
    if names and scans > 1:
        fail({say_many(len(names), "1 of {scans} scans", "{count} of {scans} scans", scans=scans): ", ".join(names)})


def show_predictions(results: Sequence[ScanDone]) -> None:
    """What is odd about the scans, what computed the masks in how much memory, which to review first, which failed."""
    noticed = ((result.scan.name, n.without(result.scan.path)) for result in results for n in result.warnings)
    warn_all(gathered(noticed), elsewhere=say("prediction.json of each scan lists its own"))
    last = next((result.record for result in reversed(results) if result.record and not result.skipped), None)
    if last is not None:
        engine = last["engine"]
        peak = last["peak_memory_bytes"] / 1e9
        out.print(
            say(
                "{engine} {precision} on {device}, peak memory {peak} GB{tuned}",
                engine=engine["name"],
                precision=engine["precision"],
                device=engine["device"],
                peak=pointed(f"{peak:.2f}"),
                tuned=_tuned(last),
            )
        )
    show_triage(results)
    show_failed([result.scan.name for result in results if result.error is not None], len(results))


def _tuned(record: Mapping[str, Any]) -> str:
    """That the model's tuning was used, and what chose it."""
    if "tuned" not in record:
        return ""
    cases = record["tuned"]["cases"]
    chosen = "" if cases is None else say_many(cases, " on 1 case", " on {count} cases")
    few = cases is not None and cases < LEAST_PATIENTS and "gain" not in record["tuned"]
    anew, without = later(", too few: tune it again, or predict with --no-tuned"), later("; --no-tuned turns this off")
    gain = record["tuned"].get("gain")
    told = "" if gain is None else say(", {gain} Dice on patients it was not tuned on", gain=pointed(f"{gain:+.3f}"))
    tuned = f"{chosen}{_how(record)}{told}{say(anew if few else without)}"
    return say("; the model is tuned{tuned}", tuned=tuned)


def _how(record: Mapping[str, Any]) -> str:
    """What decides otherwise than without tuning, in short."""
    thresholds, steps = record.get("threshold", {}), record.get("postprocess", {})
    words = []
    if thresholds:
        words.append(say_many(len(thresholds), "a threshold for 1 structure", "a threshold for {count} structures"))
    if steps:
        words.append(say_many(len(steps), "steps for 1 structure", "steps for {count} structures"))
    if record.get("smoothing"):
        words.append(say("smoothing {amount}", amount=pointed(f"{record['smoothing']:g}")))
    return f" ({', '.join(words)})" if words else ""


def _took(record: Mapping[str, Any], skipped: bool) -> str:
    seconds = sum(taken for stage, taken in record["seconds"].items() if stage not in OVERLAPPING)
    return say("done before") if skipped else f"{pointed(f'{seconds:.1f}')} s"


def show_triage(results: Sequence[ScanDone]) -> None:
    """The scans by the model's own rating, the lowest first; of one scan a line; nothing if not asked for."""
    rows = ranked(results)
    if len(rows) > 1:
        calibrated = all(row.calibrated for row in rows)
        figure = _figure(calibrated)
        columns = (
            say("scan"),
            say("rank"),
            figure,
            say("lowest structure"),
            say("its rating"),
            say("structures found"),
            say("reason"),
        )
        shown = [
            (row.scan, place, row.rating, row.lowest or None, row.least, row.found, sentence(row.reason))
            for place, row in enumerate(rows, start=1)
        ]
        dice = later("Scans to review first: those with the lowest expected Dice")
        sure = later("Scans to review first: those that the model is least sure of (a rank, no Dice)")
        table(say(dice if calibrated else sure), columns, shown)
    for row in rows if len(rows) == 1 else ():
        out.print(_rated(row))


def _rated(row: Rank) -> str:
    """The rating of an only scan."""
    rating = f"- ({sentence(row.reason)})"
    if row.rating is not None:
        figures = {"rating": pointed(f"{row.rating:.3f}"), "least": pointed(f"{row.least:.3f}")}
        rating = say("{rating}, lowest {structure} {least}", structure=row.lowest, **figures)
        rating += "" if row.calibrated else say(": a rank among scans of this model, no Dice")
    words = {"figure": _figure(row.calibrated), "rating": rating, "found": row.found}
    return say("{figure} {rating}; structures found: {found}", **words)


def _figure(calibrated: bool) -> str:
    return say("expected Dice") if calibrated else say("self-rating")
