"""A screen of rows for long work: what is done, how much of it, since when and for how long yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from tomoseg.language.words import later, say
from tomoseg.terminal.console import err
from tomoseg.terminal.waiting import lines_while

LEAST_SECONDS, LEAST_SHARE, LEAST_ITEMS = 5.0, 0.02, 2
"""How long work must have gone on, and how much of it must be done, before the time left is shown."""

ENOUGH_SECONDS = 60.0
"""After so long the time left is shown however little is done."""


@dataclass(frozen=True)
class Clock:
    """Times that go on between what is told.

    Attributes:
        passed: Seconds since the beginning.
        left: Seconds that are left; None where that is not known. If it takes longer, nothing more is said of them.
        at: The moment of `time.monotonic` at which that was so.
    """

    passed: float
    left: float | None
    at: float

    @classmethod
    def of(cls, passed: float, share: float, items: float = LEAST_ITEMS) -> Clock:
        """What is left if the rest goes on as it began; not known until enough is done to tell.

        Args:
            passed: Seconds since the beginning.
            share: How much is done, 0 to 1.
            items: How many cases or scans are done, of which the first also takes the start.
        """
        is_early = passed < LEAST_SECONDS or share < LEAST_SHARE or items < LEAST_ITEMS
        known = share > 0 and (passed >= ENOUGH_SECONDS or not is_early)
        return cls(passed, passed * (1 - share) / share if known else None, time.monotonic())

    def __str__(self) -> str:
        since = time.monotonic() - self.at
        passed, left = hours(self.passed + since), (self.left or 0.0) - since
        return passed + say(", {time} left", time=hours(left)) if left > 0 else passed


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


WIDE_TERMINAL = 100
"""Columns of a terminal in which bars are long; in a narrower one, names need the space."""

CTRL_C = "^C "
"""What a terminal writes when the keys are pressed; a row that leaves no space for it would stay behind."""

DONE_OF = later("{done} of {total}")
CASES_OF = later("{done} of {total} cases")
SCANS_OF = later("{done} of {total} scans")
STRUCTURES_OF = later("{done} of {total} structures")


class Screen(Progress):
    """Rows by name, and below them a line of numbers. It leaves nothing behind.

    Names of cases and scans, which may be long, come last in a row and are shortened to what is left of the line.

    Args:
        shown: Whether anything is drawn; without a terminal that can erase a line nothing ever is.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self.numbers = ""
        self._rows: dict[str, TaskID] = {}
        bar = BarColumn(20 if err.width >= WIDE_TERMINAL else 10)
        columns = (TextColumn("{task.description}", markup=False), bar)
        last = Column(no_wrap=True, ratio=1)
        more = (
            TextColumn("{task.fields[count]}", markup=False),
            _Times(),
            TextColumn("{task.fields[name]}", markup=False, table_column=last),
        )
        disable = not (shown and err.is_interactive)
        super().__init__(*columns, *more, console=err, transient=True, disable=disable, expand=True)
        self.live._lock = err.writing  # the thread that draws takes it first, then the console's own

    def get_renderables(self) -> Iterator[RenderableType]:
        """The rows, and the numbers where there are any."""
        rows = self.make_tasks_table(self.tasks)
        rows.width = max(err.width - len(CTRL_C), 1)
        yield rows
        if self.numbers:
            yield Text(self.numbers, no_wrap=True, overflow="ellipsis")

    def show(
        self, row: str, what: str, done: float, total: float | None, count: str, clock: Clock, name: str = ""
    ) -> None:
        """Draw a row, below the others if it is new.

        Args:
            row: Name of the row.
            what: What it is called.
            done: How much is done.
            total: Of how much; None if that is not known.
            count: That in words.
            clock: Its times.
            name: What it is about: a case or a scan.
        """
        if row not in self._rows:
            self._rows[row] = self.add_task(what, count="", clock=None, name="")
        self.update(self._rows[row], description=what, completed=done, total=total, visible=True)
        self.update(self._rows[row], count=count, clock=clock, name=name)

    def hide(self, *rows: str) -> None:
        """Take rows away until they are shown again; those that never were do not matter."""
        for row in rows:
            if row in self._rows:
                self.update(self._rows[row], visible=False)


@contextmanager
def progress(
    what: str, total: int | None = None, count: str = DONE_OF, line: Callable[[], str] | None = None
) -> Iterator[Callable[..., None]]:
    """One row for long work, from its beginning; a bar that goes to and fro where nothing is known of its parts.

    Where no rows are drawn, a line tells now and then how much is done.

    Args:
        what: What it is called.
        total: Its parts, if that is known already.
        count: How many are done of how many, as the catalogue has it.
        line: What such a line says instead.

    Yields:
        A function that takes how many parts are done, of how many (as before if None), and what the last one is called.
    """
    began, parts, told = time.monotonic(), total, ""
    with Screen() as screen, lines_while(line or (lambda: told)):

        def show(done: int, total: int | None = None, name: str = "") -> None:
            nonlocal parts, told
            parts = parts if total is None else total
            words = say(count, done=done, total=parts) if parts else ""
            told = say("{name}: {text}", name=what, text=words) if words else ""
            clock = Clock.of(time.monotonic() - began, done / parts if parts else 0.0, done)
            screen.show(what, what, done, parts, words, clock, name)

        show(0)
        yield show
