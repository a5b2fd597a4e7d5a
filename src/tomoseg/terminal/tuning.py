"""What tuning chose, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.models.tuned import LEAST_PATIENTS, Tuned
from tomoseg.terminal.console import out, table
from tomoseg.workflows.tune import Choice


def show_choices(tuned: Tuned, choices: Sequence[Choice]) -> None:
    """What is done from now on to each structure, and the Dice that it gained where it was chosen."""
    rows: list[tuple[object, ...]] = [
        (c.structure, c.cases, f"{c.threshold:g}", ", ".join(map(str, c.steps)) or "-", c.before, c.after)
        for c in choices
    ]
    table("Chosen", ("structure", "cases", "threshold", "steps", "Dice before", "after"), rows)
    left = tuned.chosen_on.get("left", {})
    if left:
        names = ", ".join(f"{name} ({number})" for name, number in left.items())
        out.print(
            f"Left as they are, since fewer than {LEAST_PATIENTS} patients show them: {names}. "
            "Smoothing, which would change them too, was not tried."
        )
    before, after = tuned.chosen_on["dice_before"], tuned.chosen_on["dice_after"]
    out.print(
        f"Smoothing over slices: {tuned.smoothing:g}. Mean Dice on the cases that chose it: {before:.4f} before, "
        f"{after:.4f} after. predict uses it unless told otherwise (--no-tuned)."
    )
