"""Running the cases of a command at the place that `--on` names: here, in several processes, on Ray or on SLURM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tomoseg.cases.alike import OnReady, SameComputation
from tomoseg.cases.folders import NOWHERE, Folders
from tomoseg.cases.place import place_of
from tomoseg.cases.processes import in_processes
from tomoseg.cases.ray_cluster import in_ray
from tomoseg.cases.slurm import in_slurm
from tomoseg.cases.work import Case, Done, Tell, Work
from tomoseg.options import HERE, Spread


def run_cases(
    work: Work[Case, Done],
    cases: Sequence[Case],
    spread: Spread = HERE,
    tell: Tell = lambda case, done, total: None,
    on_ready: OnReady = lambda about: None,
    folders: Folders = NOWHERE,
) -> Iterator[tuple[int, Done]]:
    """Process cases at the place that `spread` names; yield the number and the record of each as it is done.

    Args:
        work: The work to do on each case.
        cases: The cases; in this process they are done in order.
        spread: The place where cases are processed.
        tell: Called with the progress of a case, if it is processed in this process.
        on_ready: Called once with what every record depends on.
        folders: The folders that are read and written, which all machines must be able to reach.

    Raises:
        TomosegError: If the work fails for a reason that does not concern a single case.
        ConfigError: If workers cannot be started, or do not all compute the same.

    Example:
        >>> from tomoseg.cases.work import CaseFunction
        >>> list(run_cases(CaseFunction(str.upper, str.join), ["a", "b"]))
        [(0, 'A'), (1, 'B')]
    """
    place = place_of(spread)
    if place.kind == "here":
        opened = work.open()
        on_ready(opened.about)
        yield from enumerate(opened.all(cases, tell))
        return
    alike = SameComputation(on_ready)
    if place.kind == "processes":
        yield from in_processes(work, cases, place.workers, alike)
    elif place.kind == "ray":
        yield from in_ray(work, cases, place.address, spread, alike, folders)
    else:
        yield from in_slurm(work, cases, place.workers, spread, alike, folders)
