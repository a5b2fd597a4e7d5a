"""How a download goes, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import Progress as Bar
from rich.progress import TaskID

from tomoseg.datasets.download.sources import Archive
from tomoseg.language.words import all_later, pointed, say, say_many
from tomoseg.terminal.console import out, progress_bar, warn_all
from tomoseg.workflows.download import DownloadReport, Progress

MEGABYTE = 1_000_000

all_later("download", "check")
"""What `on_bytes` is told of."""


@contextmanager
def watch_download() -> Iterator[Progress]:
    """A bar in megabytes for each pass over the archive, then one in cases."""
    with progress_bar() as bar:
        display = _Display(bar)
        yield Progress(display.on_bytes, display.on_case)


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


class _Display:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def on_bytes(self, stage: str, done: int, total: int) -> None:
        began, before = self._began.setdefault(stage, (time.monotonic(), done))
        speed = (done - before) / max(time.monotonic() - began, 1e-3) / MEGABYTE
        what = say("{name}, MB", name=say(stage))
        rate = say("{speed} MB/s", speed=pointed(f"{max(speed, 0):.1f}"))
        self._show(what, done // MEGABYTE, -(-total // MEGABYTE), rate)

    def on_case(self, name: str, done: int, total: int) -> None:
        self._show(say("unpack"), done, total, name)

    def _show(self, what: str, done: int, total: int, info: str) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total, info="")
        self._bar.update(self._tasks[what], completed=done, total=total, info=info)
