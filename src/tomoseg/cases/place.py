"""Parsing of `--on`, the place where cases are processed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tomoseg.options import Spread

Kind = Literal["here", "processes", "ray", "slurm"]

JOBS = 8
"""Default number of SLURM jobs."""


@dataclass(frozen=True)
class Place:
    """The place where cases are processed.

    Attributes:
        kind: The engine.
        workers: Number of processes or jobs; Ray starts as many as there is room for.
        address: Address of a Ray cluster; None for the one that this machine belongs to, or else a local one.
    """

    kind: Kind
    workers: int = 1
    address: str | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether workers run on other machines."""
        return self.kind in {"ray", "slurm"}


def place_of(spread: Spread) -> Place:
    """Return the place where cases are processed.

    Args:
        spread: The options, already validated.

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
