"""Where cases are done: `--on`, read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tomoseg.options import Spread

Kind = Literal["here", "processes"]


@dataclass(frozen=True)
class Place:
    """Where cases are done.

    Attributes:
        kind: Which engine.
        workers: How many processes.
    """

    kind: Kind
    workers: int = 1


def place_of(spread: Spread) -> Place:
    """Where cases are done.

    Args:
        spread: As it was asked for, which has been found to be right.

    Example:
        >>> place_of(Spread(on="processes:4"))
        Place(kind='processes', workers=4)
    """
    if match := re.fullmatch(r"processes:(\d+)", spread.on):
        return Place("processes", int(match[1]))
    return Place("here")
