"""What tuning chose, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.language.words import later, number, pointed, say
from tomoseg.models.tuned import LEAST_PATIENTS, Tuned
from tomoseg.terminal.console import out, table
from tomoseg.workflows.choosing import Choice


def show_choices(tuned: Tuned, choices: Sequence[Choice]) -> None:
    """What is done from now on to each structure, and the Dice that it gained where it was chosen."""
    rows: list[tuple[object, ...]] = [
        (one.structure, one.cases, pointed(f"{one.threshold:g}"), _steps(one), one.before, one.after, one.on_others)
        for one in choices
    ]
    dice = (say("Dice before"), say("Dice after"), say("Dice on other patients"))
    table(say("Chosen"), (say("structure"), say("cases"), say("threshold"), say("steps"), *dice), rows)
    refused = "; ".join(f"{one.structure} ({_refused(one)})" for one in choices if one.refused)
    if refused:
        out.print(say("Not used, since there was no gain on other patients: {choices}.", choices=refused))
    left = tuned.chosen_on.get("left", {})
    if left:
        text = later(
            "Left as they were, since fewer than {least} patients show them: {structures}. Smoothing, which would "
            "change them too, was not tried."
        )
        names = ", ".join(f"{name} ({patients})" for name, patients in left.items())
        out.print(say(text, least=LEAST_PATIENTS, structures=names))
    before, after, others = (tuned.chosen_on[f"dice_{name}"] for name in ("before", "after", "on_others"))
    out.print(
        say(
            "Smoothing over slices: {smoothing}. Mean Dice: {before} before and {after} after on the cases it was "
            "chosen on, {others} on other patients ({gain}, the gain to expect on new ones). predict uses these "
            "settings unless --no-tuned is given.",
            smoothing=pointed(f"{tuned.smoothing:g}"),
            before=number(before, 4),
            after=number(after, 4),
            others=number(others, 4),
            gain=pointed(f"{others - before:+.4f}"),
        )
    )


def _steps(one: Choice) -> str:
    return ", ".join(map(str, one.steps)) or "-"


def _refused(one: Choice) -> str:
    tried, _, gain = one.refused.partition(": ")
    return say("{name}: {text}", name=pointed(tried.replace("threshold", say("threshold"))), text=pointed(gain))
