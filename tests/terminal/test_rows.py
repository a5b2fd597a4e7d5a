"""A row for long work: what is done, of how much, since when, on what; and no row without a terminal."""

import re
import time

from tests.terminal.screen import run_on_terminal
from tomoseg.terminal import waiting
from tomoseg.terminal.rows import CASES_OF, progress

SCRIPT = """
import time
from tomoseg.terminal import rows
from tomoseg.terminal.rows import CASES_OF, progress
rows.LEAST_SECONDS = 0.0
with progress("check", count=CASES_OF) as show:
    time.sleep(0.5)
    show(0, 3)
    time.sleep(0.5)
    for done in (1, 2, 3):
        time.sleep(0.5)
        show(done, None, f"patient_{done}_with_a_name_longer_than_what_is_left_of_the_line")
"""


def test_on_a_terminal():
    stood, status = run_on_terminal(["-c", SCRIPT], columns=80)
    assert status == 0
    rows = [line.rstrip() for lines in stood for line in lines]
    assert any(re.fullmatch(r"check ━+ +0:00:\d\d", row) for row in rows)
    assert any(re.fullmatch(r"check ━+ 0 of 3 cases +0:00:\d\d", row) for row in rows)
    assert any(re.fullmatch(r"check .* 1 of 3 cases 0:00:\d\d patient_1_\w*…", row) for row in rows)
    assert any(re.fullmatch(r"check .* 2 of 3 cases 0:00:\d\d, 0:00:\d\d left patient_2_\w*…", row) for row in rows)
    assert {bool(row) and not row.startswith("check ") for row in rows} == {False}  # a row is a line
    assert [line for line in stood[-1] if line] == []


MEANWHILE = """
import threading
from rich.text import Text
from tomoseg.terminal.console import out
from tomoseg.terminal.rows import Clock, Screen

class Line:
    def __rich_console__(self, console, options):
        screen.hide("b", "c")
        drawing = threading.Thread(target=screen.refresh)
        drawing.start()
        drawing.join(1)  # it has to wait for the line
        yield Text("second")

with Screen() as screen:
    for row in "abc":
        screen.show(row, row, 1, 2, "", Clock(0, None, 0))
    screen.refresh()
    out.print("first")
    out.print(Line())
    out.print("third")
"""


def test_rows_drawn_while_a_line_is_printed_erase_no_line():
    stood, status = run_on_terminal(["-c", MEANWHILE])
    assert status == 0
    assert [line for line in stood[-1] if line] == ["first", "second", "third"]


def test_on_a_terminal_that_cannot_erase_nothing_is_drawn():
    code = "from tomoseg.terminal.rows import progress\nwith progress('check', 3) as show: show(1)\nprint('done')"
    stood, status = run_on_terminal(["-c", code], term="dumb")
    assert status == 0
    assert stood[-1] == ["done", ""]


def test_without_a_terminal_nothing_is_drawn(capsys):
    with progress("check", 3, CASES_OF) as show:
        show(1, None, "[/x]")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_tells_now_and_then_what_is_done(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.05)
    with progress("check", 3, CASES_OF) as show:
        show(2)
        time.sleep(0.4)
    assert capsys.readouterr().err == "check: 2 of 3 cases\n"


def test_nothing_is_told_of_work_of_unknown_parts(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.05)
    with progress("draw"):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""
