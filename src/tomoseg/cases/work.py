"""What is done to each of many cases, in a form that goes to other processes and machines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from tomoseg.errors import counted

Case = TypeVar("Case")
Done = TypeVar("Done")
CaseIn = TypeVar("CaseIn", contravariant=True)
DoneOut = TypeVar("DoneOut", covariant=True)

Tell = Callable[[Any, int, int], None]
"""Called with a case, how much of it is done, and of how much."""

MOST_TRIES = 3
"""A case whose workers end this many times is given up."""


@runtime_checkable
class Opened(Protocol[CaseIn, DoneOut]):
    """Work that is ready to begin, with its model loaded. It belongs to one process."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What every record depends on; it must be the same in all workers of a command."""

    def one(self, case: CaseIn) -> DoneOut:
        """Process one case. A failure of the case is part of its record; an exception ends the command."""

    def all(self, cases: Sequence[CaseIn], tell: Tell) -> Iterator[DoneOut]:
        """Process cases in order, with as much overlap as is useful within one process."""


@runtime_checkable
class Work(Protocol[CaseIn, DoneOut]):
    """What is done to each case. It can be pickled, and so can cases and records."""

    def open(self) -> Opened[CaseIn, DoneOut]:
        """Load what all cases need, in the process that processes them."""

    def divided(self, workers: int) -> Work[CaseIn, DoneOut]:
        """The work of one of several workers on a machine, which share its memory."""

    def lost(self, case: CaseIn, reason: str) -> DoneOut:
        """The record of a case that is given up because its workers end."""


@dataclass(frozen=True)
class CaseFunction(Generic[Case, Done]):
    """Work that loads nothing: a function that is applied to each case.

    Attributes:
        do: From a case to its record; a function of a module, or a `partial` of one, so that it can be pickled.
        unable: From a case and a reason to the record of a case that is given up because its workers end.

    Example:
        >>> list(CaseFunction(str.upper, str.join).all(["a", "b"], lambda case, done, total: None))
        ['A', 'B']
    """

    do: Callable[[Case], Done]
    unable: Callable[[Case, str], Done]

    @property
    def about(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def open(self) -> CaseFunction[Case, Done]:
        """Itself."""
        return self

    def divided(self, workers: int) -> CaseFunction[Case, Done]:
        """Itself."""
        return self

    def one(self, case: Case) -> Done:
        """Do a case."""
        return self.do(case)

    def all(self, cases: Sequence[Case], tell: Tell) -> Iterator[Done]:
        """Do cases one after the other."""
        return map(self.do, cases)

    def lost(self, case: Case, reason: str) -> Done:
        """The record of a case that ends its workers."""
        return self.unable(case, reason)


class Waiting:
    """Numbers of cases that wait to be done, and how often each has ended its worker.

    Args:
        cases: How many there are.
    """

    def __init__(self, cases: int) -> None:
        self._waiting = deque(range(cases))
        self._ends: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> int:
        """The next one."""
        return self._waiting.popleft()

    def give_back(self, number: int) -> None:
        """A case whose worker ended without its fault, such as with its machine, comes first again."""
        self._waiting.appendleft(number)

    def ended_its_worker(self, number: int, how: str) -> str | None:
        """Take note of it: it comes last again; or it is set aside, with the reason that is returned.

        Args:
            number: The number of the case.
            how: How the worker ended.
        """
        self._ends[number] = self._ends.get(number, 0) + 1
        if self._ends[number] < MOST_TRIES:
            self._waiting.append(number)
            return None
        return worker_ended_message(self._ends[number], how)


def worker_ended_message(times: int, how: str) -> str:
    """One sentence about a case that is given up.

    Args:
        times: How many of its workers ended.
        how: How the last of them ended.

    Example:
        >>> worker_ended_message(3, "exit status 1")[:76]
        'expected a worker to live through it, got 3 workers that ended at it (exit s'
    """
    return (
        f"expected a worker to live through it, got {counted(times, 'worker')} that ended at it ({how}), most likely "
        "for want of memory or by a fault in a library; look at this scan alone, with more memory"
    )
