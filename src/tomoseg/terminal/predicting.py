"""How the segmentation of one scan or of many goes on, in the terminal."""

from __future__ import annotations

import time

from tomoseg.language.words import say
from tomoseg.terminal.console import err
from tomoseg.terminal.rows import SCANS_OF, Clock, Screen

LINE_SECONDS = 60.0
"""Without a terminal a line is written at most so often."""


class Predicting:
    """Rows for all scans and for the slices of one; a line now and then where there is no terminal.

    Args:
        screen: Where rows are drawn.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._began = self._told = time.monotonic()
        self._scans = self._done = self._skipped = 0
        self._name, self._scan_began = "", self._began
        screen.show("scan", say("loading the model"), 0, None, "", Clock(0, None, self._began))

    def on_found(self, scans: int) -> None:
        """Before the first scan: how many there are."""
        self._scans = scans

    def on_slice(self, name: str, done: int, total: int) -> None:
        """Slices of a scan that are done, of all of it."""
        if name != self._name:
            self._name, self._scan_began = name, time.monotonic()
        clock = Clock.of(time.monotonic() - self._scan_began, done / total if total else 0.0)
        count = say("slice {done} of {total}", done=done, total=total)
        self._screen.show("scan", say("scan"), done, total, count, clock, name)
        self._show_all(done / total if total else 0.0)

    def on_scan(self, *, skipped: bool = False) -> None:
        """A scan has come to its end, or was done before."""
        self._done += 1
        self._skipped += skipped
        if not self._name:  # other processes do the scans, or nothing had to be done yet
            self._screen.hide("scan")
        self._show_all(0.0)
        now = time.monotonic()
        if not err.is_interactive and self._scans > 1 and now - self._told >= LINE_SECONDS:
            self._told = now
            count = say(SCANS_OF, done=self._done, total=self._scans)
            err.print(f"{count}, {self._clock(0.0)}")

    def _show_all(self, part: float) -> None:
        if self._scans > 1:
            share, count = self._done + part, say("{done} of {total} done", done=self._done, total=self._scans)
            self._screen.show("scans", say("scans"), share, self._scans, count, self._clock(part))

    def _clock(self, part: float) -> Clock:
        """What was done before took no time, so it does not say how long the rest takes."""
        worked, to_do = self._done - self._skipped + part, self._scans - self._skipped
        return Clock.of(time.monotonic() - self._began, min(worked / to_do, 1.0) if to_do else 0.0, worked)
