"""What the demo reached, in the terminal."""

from __future__ import annotations

from tomoseg.terminal.console import out, table
from tomoseg.terminal.scores import show_scores
from tomoseg.workflows.demo import DemoReport


def show_demo(report: DemoReport) -> None:
    """The network's scores, what stands beside them, and where the pictures are."""
    show_scores(report.summary, f"Dice on {report.summary.cases} phantoms that were not trained on")
    rows: list[tuple[object, ...]] = [("network", report.summary.dice)]
    rows += [(name, summary.dice) for name, summary in report.baselines.items()]
    table("Beside what knows no shapes", ("method", "mean Dice"), rows)
    shown = report.packaged
    out.print(
        f"The packaged model, which predict takes where none is named, found {shown.structures} of {shown.there} "
        f"structures of a made body in {shown.seconds:.1f} s, mean Dice {shown.dice:.2f}. It learned from other "
        "bodies, made of real anatomies; `tomoseg models body-117` says how it does on real CT."
    )
    out.print(f"{report.minutes:.1f} minutes. Pictures:")
    for path in (*report.pictures, shown.picture):
        out.print(f"  {path}")
