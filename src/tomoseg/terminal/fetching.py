"""Models that can be fetched, how that goes, and what came of it, in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tomoseg.errors import counted
from tomoseg.models.fetched import fetched_models
from tomoseg.models.releases import releases
from tomoseg.terminal.console import out, table
from tomoseg.terminal.download import watch_download
from tomoseg.workflows.fetch_model import FetchedModel

OnBytes = Callable[[str, int, int], None]


@contextmanager
def watch_fetching() -> Iterator[tuple[OnBytes, Callable[[str], None]]]:
    """A bar in megabytes for each archive, then one that says what is made of it."""
    with watch_download() as bars:
        yield bars.on_bytes, lambda step: bars.on_case(step, 0, 1)


def show_tasks() -> None:
    """All that can be fetched, and what cannot."""
    there, known = fetched_models(), releases()
    rows = [(name, task.tells, task.megabytes, "yes" if name in there else "") for name, task in known.tasks.items()]
    table("Models of TotalSegmentator", ("task", "finds", "MB", "fetched"), rows)
    out.print(f"Licence: {known.licence}; cite {known.citations[0]}")
    for reason, words in known.reasons.items():
        names = [name for name, why in known.refused.items() if why == reason]
        out.print(f"Not here: {', '.join(names)}. Reason: {reason}; {'it' if len(names) == 1 else 'each'} {words}.")


def show_fetched(found: FetchedModel) -> None:
    """What it is, whose it is, how it is used, and what is to be known before."""
    if found.finder is not None and found.finder.is_new:
        show_fetched(found.finder)
    record = found.record
    plan = record.plan
    edges = "" if plan is None else f", voxels of {' x '.join(f'{edge:.3g}' for edge in plan.spacing_mm)} mm"
    word = "" if found.is_new else ", which was there already"
    out.print(f"{found.task.name}: {counted(len(record.labels), 'structure')}{edges}, in {found.folder}{word}")
    out.print(f"licence: {record.provenance['licence']}")
    for citation in record.provenance["citations"]:
        out.print(f"cite: {citation}")
    for name in found.first_sums:
        out.print(f"kept: the SHA-256 of {name}, which nobody states; if it is fetched again it must be the same")
    if found.task.box is not None:
        box = found.task.box
        around = f"{', '.join(box.structures)}, and {box.margin_mm:g} mm more"
        out.print(f"sees: of a scan the box that {box.finder} finds around {around}")
    out.print(f"next: tomoseg predict -i CT -o MASKS -m {found.task.name}")
