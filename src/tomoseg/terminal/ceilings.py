"""What the grid leaves of structures, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from tomoseg.language.words import pointed, say
from tomoseg.terminal.console import table, warn_all
from tomoseg.workflows.preprocess import LOW_CEILING

WORST_NAMED = 5
"""Structures named in a sentence; the table beside it has them all."""


def show_ceilings(ceilings: Mapping[str, float | None]) -> None:
    """What the grid leaves of each structure, with a warning where that is too little."""
    table(say("Best possible Dice on this grid"), (say("structure"), say("ceiling")), list(ceilings.items()))
    low = sorted((dice, name) for name, dice in ceilings.items() if dice is not None and dice < LOW_CEILING)
    worst = ", ".join(f"{name} {pointed(f'{dice:.3f}')}" for dice, name in low[:WORST_NAMED])
    if len(low) > WORST_NAMED:
        warn_all([f"the grid is too coarse for {len(low)} structures, the worst are {worst}; choose a finer one"])
    elif low:
        warn_all([f"the grid is too coarse for {worst}; choose a finer one"])
