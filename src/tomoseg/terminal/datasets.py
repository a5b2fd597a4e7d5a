"""What was found in a dataset's folder, in the terminal, before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.datasets.layouts import Dataset
from tomoseg.terminal.console import err, warn_all
from tomoseg.workflows.datasets import summary


def show_dataset(found: Dataset) -> None:
    """How many cases there are, of which kinds, and by name what is left out and why."""
    err.print(summary(found))
    show_left_out([str(one) for one in found.left_out])


def show_left_out(left_out: Sequence[str]) -> None:
    """All of it, however much there is."""
    warn_all(left_out, at_most=len(left_out))
