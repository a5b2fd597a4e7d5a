"""`tomoseg labels`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.language.words import say, say_many, spoken
from tomoseg.terminal import console
from tomoseg.terminal.rows import CASES_OF, progress


def labels(place: Positional[Path | None] = None) -> int:
    """List the 117 structures, or those of a dataset or a model.

    Args:
        place: A dataset, a preprocessed dataset, a model folder, a run folder, or the name of a packaged or
            fetched model; if omitted, the 117 structures are listed.
    """
    from tomoseg.pictures.structure_names import readable_group
    from tomoseg.terminal.datasets import show_left_out
    from tomoseg.terminal.holdings import show_holdings
    from tomoseg.terminal.models import show_tuning

    with progress(say("reading"), count=CASES_OF) as show:
        from tomoseg.workflows.labels import structures_of

        found = structures_of(place, show)
    rows = sorted(
        (
            (s.name, s.id, readable_group(s.group, spoken()), s.snomed, "#" + bytes(s.colour).hex())
            for s in found.labels
        ),
        key=lambda row: row[1],
    )
    title = say_many(len(found.labels), "1 structure", "{count} structures")
    console.table(title, (say("structure"), say("id"), say("group"), "SNOMED CT", say("colour")), rows)
    if found.holdings is not None:
        show_holdings(found.holdings)
    if found.tuning is not None:
        show_tuning(found.tuning)
    show_left_out(found.left_out)
    console.warn_all([text for text in found.warnings if text not in found.left_out])
    return SOME_FAILED if found.left_out else DONE
