"""Cases done where `--on` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tomoseg.cases.alike import Alike, OnReady
from tomoseg.cases.folders import NOWHERE, Folders
from tomoseg.cases.place import place_of
from tomoseg.cases.processes import in_processes
from tomoseg.cases.ray_cluster import in_ray
from tomoseg.cases.slurm import in_slurm
from tomoseg.cases.work import Case, Done, Tell, Work
from tomoseg.options import HERE, Spread


def do_cases(
    work: Work[Case, Done],
    cases: Sequence[Case],
    spread: Spread = HERE,
    tell: Tell = lambda case, done, total: None,
    on_ready: OnReady = lambda about: None,
    folders: Folders = NOWHERE,
) -> Iterator[tuple[int, Done]]:
    """Do each case; a number and a record of each, as they come: in order where one process does them.

    Args:
        work: What is done to each.
        cases: Which.
        spread: Who does them.
        tell: Told how far a case is, where this process does it.
        on_ready: Told what every record depends on.
        folders: What it reads and where it writes, for machines that must see them.

    Raises:
        TomosegError: Whatever the work raises that is not of one case.
        ConfigError: If workers cannot be had, or do not compute alike.

    Example:
        >>> from tomoseg.cases.work import Each
        >>> list(do_cases(Each(str.upper, str.join), ["a", "b"]))
        [(0, 'A'), (1, 'B')]
    """
    place = place_of(spread)
    if place.kind == "here":
        opened = work.open()
        on_ready(opened.about)
        yield from enumerate(opened.all(cases, tell))
        return
    alike = Alike(on_ready)
    if place.kind == "processes":
        yield from in_processes(work, cases, place.workers, alike)
    elif place.kind == "ray":
        yield from in_ray(work, cases, place.address, spread, alike, folders)
    else:
        yield from in_slurm(work, cases, place.workers, spread, alike, folders)
