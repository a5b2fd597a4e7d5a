"""What the demo reached, in the terminal."""

from __future__ import annotations

from tomoseg.language.words import pointed, say, say_many
from tomoseg.options import DEFAULT_MODEL
from tomoseg.terminal.console import out, table
from tomoseg.terminal.scores import show_groups
from tomoseg.workflows.demo import DemoReport


def show_demo(report: DemoReport) -> None:
    """The network's scores in groups, those of methods without one, and where the pictures are."""
    cases = report.summary.cases
    title = say_many(
        cases, "Dice on 1 phantom that was not trained on", "Dice on {count} phantoms that were not trained on"
    )
    show_groups(report.summary, title)
    out.print(say("The score of each structure is in {path}.", path=report.scores / "report.html"))
    rows: list[tuple[object, ...]] = [(say("network"), report.summary.dice)]
    rows += [(say(name), summary.dice) for name, summary in report.baselines.items()]
    table(say("Compared with methods that know no shapes"), (say("method"), say("mean Dice")), rows)
    shown = report.packaged
    out.print(
        say(
            "The packaged model {model}, which predict uses if none is named, found {found} of {there} structures of "
            "a synthetic body in {seconds} s, with a mean Dice of {dice}. It was trained on other synthetic bodies, "
            "generated from real anatomies; `tomoseg models {model}` says how good it is on real CT.",
            model=DEFAULT_MODEL,
            found=shown.structures,
            there=shown.there,
            seconds=pointed(f"{shown.seconds:.1f}"),
            dice=pointed(f"{shown.dice:.2f}"),
        )
    )
    out.print(say("The demo took {minutes} minutes. Pictures:", minutes=pointed(f"{report.minutes:.1f}")))
    for path in (*report.pictures, shown.picture):
        out.print(f"  {path}")
