"""Models that can be fetched, how that goes, and what came of it, in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tomoseg.language.words import all_later, later, pointed, say, say_many, short
from tomoseg.models.fetched import fetched_models
from tomoseg.models.releases import releases
from tomoseg.nnunet import Box
from tomoseg.terminal.console import out, table
from tomoseg.terminal.download import watch_bytes
from tomoseg.workflows.fetch_model import FetchedModel

OnBytes = Callable[[str, int, int], None]

all_later("reading", "writing", "exporting")
"""The steps of an import."""


@contextmanager
def watch_fetching() -> Iterator[tuple[OnBytes, Callable[[str], None]]]:
    """A row in megabytes for each archive, then one that says what is made of it."""
    with watch_bytes() as display:
        yield display.on_bytes, display.on_step


def show_tasks() -> None:
    """All that can be fetched, and what cannot."""
    there, known = fetched_models(), releases()
    rows = [
        (name, say(task.tells), task.megabytes, say("yes") if name in there else "")
        for name, task in known.tasks.items()
    ]
    table(say("Models of TotalSegmentator"), (say("task"), say("finds"), say("MB"), say("fetched")), rows)
    out.print(say("Licence: {licence}; cite {citation}", licence=say(known.licence), citation=known.citations[0]))
    for reason, words in known.reasons.items():
        names = [name for name, why in known.refused.items() if why == reason]
        out.print(
            say_many(
                len(names),
                "Not available: {names}. It {reason}.",
                "Not available: {names}. Each {reason}.",
                names=", ".join(names),
                reason=say(words),
            )
        )


def show_fetched(found: FetchedModel) -> None:
    """What it is, whose it is, how it is used, and what is to be known before."""
    if found.finder is not None and found.finder.is_new:
        show_fetched(found.finder)
    record, task = found.record, found.task
    out.print(say("{name}: {text}", name=task.name, text=_described(found)))
    licence = record.provenance["licence"]
    stated = say(licence) if licence == releases().licence else licence
    out.print(say("licence: {licence}", licence=stated))
    for citation in record.provenance["citations"]:
        out.print(say("cite: {citation}", citation=citation))
    for name in found.first_sums:
        text = later(
            "The SHA-256 of {name} is published nowhere; it was kept, and a later download must have the same."
        )
        out.print(say(text, name=name))
    if task.box is not None:
        out.print(_seen(task.box))
    out.print(say("next: {command}", command=f"tomoseg predict -i CT -o MASKS -m {task.name}"))


def _described(found: FetchedModel) -> str:
    plan, labels = found.record.plan, found.record.labels
    words = [say_many(len(labels), "1 structure", "{count} structures")]
    if plan is not None:
        words.append(say("voxels of {edges} mm", edges=" x ".join(map(short, plan.spacing_mm))))
    words.append(say("in {folder}", folder=found.folder))
    if not found.is_new:
        words.append(say("downloaded before"))
    return ", ".join(words)


def _seen(box: Box) -> str:
    """What of a scan the network is shown."""
    return say(
        "input: the box around {structures} and {margin} mm more, as {model} finds it in the scan",
        structures=", ".join(box.structures),
        margin=pointed(f"{box.margin_mm:g}"),
        model=box.finder,
    )
