"""What was found in a dataset's folder, in the terminal, before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.datasets.layouts import Dataset
from tomoseg.language.words import all_later, say, say_many
from tomoseg.terminal.console import err, warn_all
from tomoseg.terminal.found import listed_kinds
from tomoseg.workflows.datasets import kind_of

all_later("case folders", "flat", "listed", "numbered", "paired folders", "predictions")
"""The layouts."""


def show_dataset(found: Dataset) -> None:
    """How many cases there are, of which kinds, and by name what is left out and why."""
    err.print(dataset_in_words(found))
    show_left_out([str(one) for one in found.left_out])


def dataset_in_words(found: Dataset) -> str:
    """How many cases there are, of scans of which kind, and how much is left out."""
    kinds = listed_kinds(kind_of(case.ct) for case in found.cases)
    cases = say_many(len(found.cases), "1 case", "{count} cases")
    left = say("; {count} left out", count=len(found.left_out)) if found.left_out else ""
    return say("{cases} ({layout}): {kinds}", cases=cases, layout=say(found.layout), kinds=kinds) + left


def show_left_out(left_out: Sequence[str]) -> None:
    """All of it, however much there is."""
    warn_all(left_out, at_most=len(left_out))
