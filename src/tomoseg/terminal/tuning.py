"""What tuning chose, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.models.tuned import LEAST_PATIENTS, Tuned
from tomoseg.terminal.console import out, table
from tomoseg.workflows.choosing import Choice


def show_choices(tuned: Tuned, choices: Sequence[Choice]) -> None:
    """What is done from now on to each structure, and the Dice that it gained where it was chosen."""
    rows: list[tuple[object, ...]] = [
        (c.structure, c.cases, f"{c.threshold:g}", ", ".join(map(str, c.steps)) or "-", c.before, c.after, c.on_others)
        for c in choices
    ]
    table("Chosen", ("structure", "cases", "threshold", "steps", "Dice before", "after", "on other patients"), rows)
    refused = [f"{c.structure} ({c.refused})" for c in choices if c.refused]
    if refused:
        out.print(f"Chosen, but of no gain on patients that did not choose, and so not taken: {'; '.join(refused)}.")
    left = tuned.chosen_on.get("left", {})
    if left:
        names = ", ".join(f"{name} ({number})" for name, number in left.items())
        out.print(
            f"Left as they are, since fewer than {LEAST_PATIENTS} patients show them: {names}. "
            "Smoothing, which would change them too, was not tried."
        )
    before, after, others = (tuned.chosen_on[f"dice_{name}"] for name in ("before", "after", "on_others"))
    out.print(
        f"Smoothing over slices: {tuned.smoothing:g}. Mean Dice {before:.4f} before, {after:.4f} after on the cases "
        f"that chose it, {others:.4f} on patients that did not ({others - before:+.4f}: what to expect of others). "
        "predict uses it unless told otherwise (--no-tuned)."
    )
