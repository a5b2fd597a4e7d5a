"""How far many scans are: n of m and the time left, on a real terminal and without one."""

import re

import pytest

from tests.terminal.screen import run_on_terminal
from tomoseg.terminal import predicting
from tomoseg.terminal.predicting import Predicting
from tomoseg.terminal.rows import Clock, Screen

SCRIPT = """
import time
from tomoseg.terminal import rows
from tomoseg.terminal.console import out
from tomoseg.terminal.predicting import Predicting
from tomoseg.terminal.rows import Screen
rows.LEAST_SECONDS = 0.0
with Screen() as screen:
    display = Predicting(screen)
    time.sleep(0.2)
    display.on_found(4)
    out.print("4 scans")
    display.on_scan(skipped=True)
    for name in ("a[b]", "c", "d"):
        for done in (1, 2):
            display.on_slice(name, done, 2)
            time.sleep(0.2)
        display.on_scan()
"""


def test_on_a_terminal():
    stood, status = run_on_terminal(["-c", SCRIPT], columns=80)
    assert status == 0
    rows = [line for lines in stood for line in lines]
    assert any(row.startswith("loading the model") for row in rows)
    assert any(re.search(r"^scan .*slice 1 of 2 +0:00:0\d.* a\[b\] *$", row) for row in rows)
    assert any(re.search(r"^scans .*1 of 4 done +0:00:0\d", row) for row in rows)
    assert any(re.search(r"^scans .*3 of 4 done +0:00:0\d, 0:00:0\d left", row) for row in rows)
    assert [line for line in stood[-1] if line] == ["4 scans"]


class TestWithoutATerminal:
    @pytest.fixture
    def clock(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        return now

    def test_a_line_now_and_then(self, clock, capsys):
        with Screen() as screen:
            display = Predicting(screen)
            display.on_found(5)
            display.on_scan(skipped=True)
            for _ in range(4):
                clock[0] += predicting.LINE_SECONDS / 2
                display.on_slice("a", 1, 1)
                display.on_scan()
        told = capsys.readouterr()
        # the one that was done before does not say how long the others take: 30 s each
        assert told.err.splitlines() == ["3 of 5 scans, 0:01:00, 0:01:00 left", "5 of 5 scans, 0:02:00"]
        assert told.out == ""

    def test_one_scan_says_nothing(self, clock, capsys):
        with Screen() as screen:
            display = Predicting(screen)
            display.on_found(1)
            clock[0] += 1000
            display.on_scan()
        assert capsys.readouterr() == ("", "")

    def test_a_clock(self, clock):
        one = Clock.of(60.0, 0.25)
        assert str(one) == "0:01:00, 0:03:00 left"
        clock[0] += 200
        assert str(one) == "0:04:20"
        assert str(Clock.of(5.0, 0.0)) == "0:00:05"

    def test_the_first_seconds_and_the_first_scan_do_not_say_how_long_the_rest_takes(self, clock):
        assert str(Clock.of(4.9, 0.5)) == "0:00:04"
        assert str(Clock.of(5.0, 0.5)) == "0:00:05, 0:00:05 left"
        assert str(Clock.of(50.0, 0.01)) == "0:00:50"
        assert str(Clock.of(50.0, 0.1, 1.9)) == "0:00:50"
        assert str(Clock.of(50.0, 0.1, 2)) == "0:00:50, 0:07:30 left"
        assert str(Clock.of(60.0, 0.01, 1)) == "0:01:00, 1:39:00 left"
