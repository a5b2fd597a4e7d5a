"""Tables in a narrow terminal: nothing is cut, and what does not fit comes below."""

import re

import pytest

from tests.terminal.shown import rows_in
from tomoseg.terminal import console
from tomoseg.terminal.fitting import Column, fitted

COLUMNS = ("structure", "n", "Dice", "surface Dice at 3 mm", "false positive ml")
ROWS = [("gluteus_maximus_left", "30", "0.912", "0.950", "1234.567"), ("liver", "2", "-", "0.1", "-")]


def test_what_fits_is_as_wide_as_it_is():
    # 20 + 2 + 5 + 20 + 17 characters, 3 around each column, 1 at the end
    assert fitted(COLUMNS, ROWS, 80) == [[Column(n, w) for n, w in enumerate((20, 2, 5, 20, 17))]]


def test_headings_wrap_before_anything_else():
    (columns,) = fitted(COLUMNS, ROWS, 66)
    assert sum(one.width for one in columns) == 66 - 3 * 5 - 1
    assert [one.width for one in columns[:3]] == [20, 2, 5]  # one word each


def test_what_is_too_wide_goes_on_below_with_the_names():
    tables = fitted(COLUMNS, ROWS, 43)
    assert [[one.number for one in table] for table in tables] == [[0, 1, 2], [0, 3], [0, 4]]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_word_is_cut(width, capsys, monkeypatch):
    monkeypatch.setattr(console.out, "width", width)
    console.table("Title", COLUMNS, ROWS)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    assert printed.count("Title") == 1
    shown = {word for row in rows_in(printed) for cell in row for word in cell.split()}
    assert {word for row in (COLUMNS, *ROWS) for cell in row for word in cell.split()} <= shown


def test_a_name_longer_than_the_terminal_folds(capsys, monkeypatch):
    monkeypatch.setattr(console.out, "width", 30)
    name = "a" * 20 + "b" * 20
    console.table("", ("name", "Dice"), [(name, 0.5)])
    printed = capsys.readouterr().out
    assert "".join(row[0] for row in rows_in(printed)[1:]) == name
    assert re.search(r"0\.500", printed)
    assert max(map(len, printed.splitlines())) <= 30
