"""What tuning chose, in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tomoseg.language.words import later, number, pointed, say
from tomoseg.models.tuned import LEAST_PATIENTS, Tuned
from tomoseg.terminal.console import out, table
from tomoseg.terminal.rows import CASES_OF, STRUCTURES_OF, Clock, Screen

if TYPE_CHECKING:
    from tomoseg.workflows.choosing import Choice


FEW = {
    "together": later(
        "Fewer than {least} patients show these structures, so one threshold was chosen for all of them together: "
        "{structures}. Smoothing, which would change them too, was not tried."
    ),
    "left": later(
        "Left as they were, since fewer than {least} patients show them: {structures}. Smoothing, which would change "
        "them too, was not tried."
    ),
}
"""What is said of structures of few patients, by their entry in the tuning's record."""


@contextmanager
def watch_tuning() -> Iterator[tuple[Callable[[int, int], None], Callable[[str, int, int], None]]]:
    """A row of the cases that are segmented, and below it, when they are, one of the structures that are chosen for.

    Yields:
        The callbacks of `tune`.
    """
    began = choosing = time.monotonic()
    with Screen() as screen:
        screen.show("tune", say("tune"), 0, None, "", Clock(0, None, began))

        def on_case(done: int, total: int) -> None:
            screen.hide("choose")
            count, clock = say(CASES_OF, done=done, total=total), Clock.of(time.monotonic() - began, done / total, done)
            screen.show("tune", say("tune"), done, total, count, clock)

        def on_structure(name: str, done: int, total: int) -> None:
            nonlocal choosing
            choosing = choosing if done else time.monotonic()
            count = say(STRUCTURES_OF, done=done, total=total)
            clock = Clock.of(time.monotonic() - choosing, done / total, done)
            screen.show("choose", say("choose"), done, total, count, clock, name)

        yield on_case, on_structure


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
    for together, text in FEW.items():
        few = tuned.chosen_on.get(together, {})
        if few:
            names = ", ".join(f"{name} ({patients})" for name, patients in few.items())
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
