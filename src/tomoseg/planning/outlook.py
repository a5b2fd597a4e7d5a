"""Expected result of a training of some length."""

from __future__ import annotations

from tomoseg.errors import counted
from tomoseg.planning.needs import ENOUGH_SHARE, HARDLY_SHARE, wanted_slices


def outlook(slices: int, steps: int, structures: int, minutes_wanted: float | None = None) -> str:
    """Describe the expected result in a sentence or two.

    Args:
        slices: Number of slices that the network will see.
        steps: Number of steps.
        structures: Number of structures.
        minutes_wanted: Minutes that would suffice; None if unknown.

    Example:
        >>> outlook(100, 12, 7)
        '12 steps see 100 slices; 7050 are wanted for 7 structures. Expect next to nothing.'
    """
    wanted = wanted_slices(structures)
    sees = f"{counted(steps, 'step sees', 'steps see')} {counted(slices, 'slice')}"
    what = f"{sees}; {wanted} are wanted for {counted(structures, 'structure')}."
    share = slices / wanted
    if share >= 1:
        return f"{what} That is enough for all but small structures; more time still helps."
    advice = "" if minutes_wanted is None else f" {_minutes(minutes_wanted)} min would do."
    if share < HARDLY_SHARE:
        return f"{what} Expect next to nothing.{advice}"
    if share < ENOUGH_SHARE:
        return f"{what} Expect rough masks, and small structures to be missed.{advice}"
    return f"{what} Expect some small structures to be missed.{advice}"


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f}" if minutes >= 10 else f"{max(minutes, 0.1):.1f}"
