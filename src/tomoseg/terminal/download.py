"""How a download goes, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tomoseg.datasets.download.sources import Archive
from tomoseg.language.words import all_later, pointed, say, say_many
from tomoseg.terminal.console import out, warn_all
from tomoseg.terminal.rows import CASES_OF, Clock, Screen
from tomoseg.workflows.download import DownloadReport, Progress

MEGABYTE = 1_000_000

all_later("download", "check")
"""What `on_bytes` is told of."""


@contextmanager
def watch_download() -> Iterator[Progress]:
    """A row in megabytes for each pass over the archive, then one in cases."""
    with watch_bytes() as display:
        yield Progress(display.on_bytes, display.on_case)


@contextmanager
def watch_bytes() -> Iterator[Display]:
    """The same, and a row for what is made of an archive."""
    with Screen() as screen:
        yield Display(screen)


def show_download(report: DownloadReport, archive: Archive, output: Path) -> None:
    """Where the cases are, what they may be used under, and what was not verified."""
    cases = say_many(report.cases, "1 case", "{count} cases")
    out.print(say("{cases} in {folder}, {new} of them new", cases=cases, folder=output, new=report.new))
    if report.archive is not None:
        out.print(say("Archive: {path}", path=report.archive))
    if archive.licence is not None:
        out.print(say("Licence: {licence}; cite {citation}", licence=archive.licence, citation=archive.citation))
    if report.new and archive.md5 is None:
        warn_all([f"{archive.name} was not verified, since its MD5 sum is not known; pass --md5 to verify it"])


class Display:
    """How far a download is.

    Args:
        screen: Where rows are drawn.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._began: dict[str, tuple[float, int]] = {}

    def on_bytes(self, stage: str, done: int, total: int) -> None:
        """Bytes that are read. What was there before took no time, so it does not say how long the rest takes."""
        passed, before = self._since(stage, done)
        words = say(
            "{done} of {total} MB, {speed} MB/s",
            done=done // MEGABYTE,
            total=-(-total // MEGABYTE),
            speed=pointed(f"{max(done - before, 0) / max(passed, 1e-3) / MEGABYTE:.1f}"),
        )
        share = (done - before) / max(total - before, 1)
        self._screen.show(stage, say(stage), done, total, words, Clock.of(passed, share))

    def on_case(self, name: str, done: int, total: int) -> None:
        """A case is unpacked."""
        passed, before = self._since("unpack", done)
        clock = Clock.of(passed, (done - before) / max(total - before, 1), done - before)
        self._screen.show("unpack", say("unpack"), done, total, say(CASES_OF, done=done, total=total), clock, name)

    def on_step(self, step: str) -> None:
        """Something else is done, for a while that is not known."""
        self._screen.show("step", say(step), 0, None, "", Clock(0, None, time.monotonic()))

    def _since(self, stage: str, done: int) -> tuple[float, int]:
        """Seconds since a stage began, and what was done then."""
        began, before = self._began.setdefault(stage, (time.monotonic(), done))
        return time.monotonic() - began, before
