"""The models of the package, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.terminal.console import out, table
from tomoseg.workflows.models import PackagedModel


def show_models(found: Sequence[PackagedModel]) -> None:
    """All of them, with their size and score."""
    rows = [(m.name, len(m.record.labels), f"{m.megabytes:.1f}", m.record.scores.get("validation_dice")) for m in found]
    table("Models in the package", ("model", "structures", "MB", "validation Dice"), rows)
    out.print("tomoseg models NAME prints what it was made from, how good it is and where it must not be used.")
