"""Where cases are done: `--on`, read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tomoseg.options import Spread

Kind = Literal["here", "processes", "ray", "slurm"]

JOBS = 8
"""Of SLURM, where no number is given."""


@dataclass(frozen=True)
class Place:
    """Where cases are done.

    Attributes:
        kind: Which engine.
        workers: How many processes or jobs; Ray starts as many as there is room for.
        address: The address of a Ray cluster; None is the one that this machine is part of, else one of its own.
    """

    kind: Kind
    workers: int = 1
    address: str | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether workers are on machines of their own."""
        return self.kind in {"ray", "slurm"}


def place_of(spread: Spread) -> Place:
    """Where cases are done.

    Args:
        spread: As it was asked for, which has been found to be right.

    Example:
        >>> place_of(Spread(on="processes:4"))
        Place(kind='processes', workers=4, address=None)
        >>> place_of(Spread(on="slurm")).workers, place_of(Spread(on="ray://head:10001")).address
        (8, 'ray://head:10001')
    """
    if match := re.fullmatch(r"(processes|slurm):(\d+)", spread.on):
        return Place("slurm" if match[1] == "slurm" else "processes", int(match[2]))
    if spread.on == "slurm":
        return Place("slurm", JOBS)
    if spread.on.startswith("ray"):
        return Place("ray", address=spread.on if "://" in spread.on else None)
    return Place("here")
