"""What the grid leaves of structures, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from tomoseg.terminal.console import table, warn_all
from tomoseg.workflows.preprocess import LOW_CEILING

WORST_NAMED = 5
"""Structures named in a sentence; the table beside it has them all."""


def show_ceilings(ceilings: Mapping[str, float | None]) -> None:
    """What the grid leaves of each structure, with a warning where that is too little."""
    table("Dice that survives going to the grid and back", ("structure", "ceiling"), list(ceilings.items()))
    low = sorted((dice, name) for name, dice in ceilings.items() if dice is not None and dice < LOW_CEILING)
    if low:
        worst = ", ".join(f"{name} {dice:.3f}" for dice, name in low[:WORST_NAMED])
        which = worst if len(low) <= WORST_NAMED else f"{len(low)} structures, the worst are {worst}"
        warn_all([f"the grid is too coarse for {which}; choose a finer one"])
