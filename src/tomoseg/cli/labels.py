"""`tomoseg labels`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from tomoseg.cli.exits import DONE
from tomoseg.terminal import console


def labels(dataset: Positional[Path | None] = None) -> int:
    """Print the 117 structures, or those of a dataset.

    Args:
        dataset: A dataset or a preprocessed dataset; the 117 if omitted.
    """
    from tomoseg.workflows.labels import labels_of

    found = labels_of(dataset)
    rows = [(s.name, s.id, s.group, s.snomed, "#" + bytes(s.colour).hex()) for s in sorted(found, key=lambda s: s.id)]
    console.table(f"{len(found)} structures", ("structure", "id", "group", "SNOMED CT", "colour"), rows)
    return DONE
