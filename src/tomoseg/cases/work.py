"""Work on many cases, in a form that can be sent to other processes and machines."""

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
"""Called with a case, its progress, and the progress at which it is done."""

MOST_TRIES = 3
"""Number of workers that a case may end before it is given up."""


@runtime_checkable
class Opened(Protocol[CaseIn, DoneOut]):
    """Work that is ready to begin, with its model loaded; it belongs to one process."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Values that every record depends on, which must be the same in all workers of a command."""

    def one(self, case: CaseIn) -> DoneOut:
        """Process one case. A failure of the case is part of its record; an exception ends the command."""

    def all(self, cases: Sequence[CaseIn], tell: Tell) -> Iterator[DoneOut]:
        """Process cases in order, with as much overlap as is useful within one process."""


@runtime_checkable
class Work(Protocol[CaseIn, DoneOut]):
    """Work to do on each case; it can be pickled, and so can cases and records."""

    def open(self) -> Opened[CaseIn, DoneOut]:
        """Load everything that all cases need, in the process that processes them."""

    def divided(self, workers: int) -> Work[CaseIn, DoneOut]:
        """Return the work for one of several workers on a machine, which share its memory."""

    def lost(self, case: CaseIn, reason: str) -> DoneOut:
        """Return the record of a case that is given up because its workers end."""


@dataclass(frozen=True)
class CaseFunction(Generic[Case, Done]):
    """Work that loads nothing: a function that is applied to each case.

    Attributes:
        do: Returns the record of a case; a module-level function, or a `partial` of one, so that it can be pickled.
        unable: Returns the record of a case that is given up because its workers end, from the case and the reason.

    Example:
        >>> list(CaseFunction(str.upper, str.join).all(["a", "b"], lambda case, done, total: None))
        ['A', 'B']
    """

    do: Callable[[Case], Done]
    unable: Callable[[Case, str], Done]

    @property
    def about(self) -> Mapping[str, Any]:
        """Empty: records depend on nothing else."""
        return {}

    def open(self) -> CaseFunction[Case, Done]:
        """Return itself."""
        return self

    def divided(self, workers: int) -> CaseFunction[Case, Done]:
        """Return itself."""
        return self

    def one(self, case: Case) -> Done:
        """Process a case."""
        return self.do(case)

    def all(self, cases: Sequence[Case], tell: Tell) -> Iterator[Done]:
        """Process cases one after the other."""
        return map(self.do, cases)

    def lost(self, case: Case, reason: str) -> Done:
        """Return the record of a case that is given up because its workers end."""
        return self.unable(case, reason)


class Waiting:
    """Queue of the numbers of cases, which counts how many workers each has ended.

    Args:
        cases: Number of cases.
    """

    def __init__(self, cases: int) -> None:
        self._waiting = deque(range(cases))
        self._ends: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> int:
        """Remove and return the next case."""
        return self._waiting.popleft()

    def give_back(self, number: int) -> None:
        """Put back at the front a case whose worker ended through no fault of it, such as with its machine."""
        self._waiting.appendleft(number)

    def ended_its_worker(self, number: int, how: str) -> str | None:
        """Put back at the end a case that ended its worker; if it has ended too many, return the reason to give it up.

        Args:
            number: The number of the case.
            how: The end of the worker, in words.
        """
        self._ends[number] = self._ends.get(number, 0) + 1
        if self._ends[number] < MOST_TRIES:
            self._waiting.append(number)
            return None
        return worker_ended_message(self._ends[number], how)


def worker_ended_message(times: int, how: str) -> str:
    """Return the message for a case that is given up.

    Args:
        times: Number of workers that it ended.
        how: The end of the last of them, in words.

    Example:
        >>> worker_ended_message(3, "exit status 1")[:76]
        'expected a worker to finish it, got 3 workers that died on it (exit status 1'
    """
    return (
        f"expected a worker to finish it, got {counted(times, 'worker')} that died on it ({how}), most likely "
        "for lack of memory or from a fault in a library; try this scan alone, with more memory"
    )
