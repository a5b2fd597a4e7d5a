"""A screen of rows for long work: what is done, how much of it, since when and for how long yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from tomoseg.language.words import say
from tomoseg.terminal.console import err


@dataclass(frozen=True)
class Clock:
    """Times that go on between what is told.

    Attributes:
        passed: Seconds since the beginning.
        left: Seconds that are left; None where that is not known.
        at: The moment of `time.monotonic` at which that was so.
    """

    passed: float
    left: float | None
    at: float

    @classmethod
    def of(cls, passed: float, share: float) -> Clock:
        """After so many seconds, with so much of it done, 0 to 1."""
        return cls(passed, passed * (1 - share) / share if share > 0 else None, time.monotonic())

    def __str__(self) -> str:
        since = time.monotonic() - self.at
        passed = hours(self.passed + since)
        return passed if self.left is None else passed + say(", {time} left", time=hours(max(self.left - since, 0)))


def hours(seconds: float) -> str:
    """Seconds as they stand on a clock.

    Example:
        >>> hours(3725.9)
        '1:02:05'
    """
    return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02}"


class _Times(ProgressColumn):
    """The clock of a row."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields["clock"] or ""))


class Screen(Progress):
    """Rows by name, and below them a line of numbers. It leaves nothing behind.

    Args:
        shown: Whether anything is drawn; without a terminal nothing ever is.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self.numbers = ""
        self._rows: dict[str, TaskID] = {}
        columns = (TextColumn("{task.description}", markup=False), BarColumn(20))
        more = (TextColumn("{task.fields[count]}", markup=False), _Times())
        super().__init__(*columns, *more, console=err, transient=True, disable=not (shown and err.is_terminal))

    def get_renderables(self) -> Iterator[RenderableType]:
        """The rows, and the numbers where there are any."""
        yield self.make_tasks_table(self.tasks)
        if self.numbers:
            yield Text(self.numbers, no_wrap=True, overflow="ellipsis")

    def show(self, row: str, what: str, done: float, total: float | None, count: str, clock: Clock) -> None:
        """Draw a row, below the others if it is new.

        Args:
            row: Name of the row.
            what: What it is called.
            done: How much is done.
            total: Of how much; None if that is not known.
            count: That in words.
            clock: Its times.
        """
        if row not in self._rows:
            self._rows[row] = self.add_task(what, count="", clock=None)
        self.update(
            self._rows[row], description=what, completed=done, total=total, count=count, clock=clock, visible=True
        )

    def hide(self, *rows: str) -> None:
        """Take rows away until they are shown again; those that never were do not matter."""
        for row in rows:
            if row in self._rows:
                self.update(self._rows[row], visible=False)
