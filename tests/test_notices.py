"""Notices are sentences with a kind, and the docs know every kind."""

import copy
import re
from pathlib import Path
from typing import get_args

import pytest

from tomoseg.notices import NOTES, Kind, Notice

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "warnings.md"


@pytest.mark.parametrize(("kind", "level"), [("tilt", "warning"), ("left out", "note")])
def test_a_notice_is_its_text_with_a_kind(kind, level):
    notice = Notice("Seen.", kind)
    assert notice == "Seen."
    assert (notice.kind, notice.level) == (kind, level)
    named = notice.of("ct.nii")
    assert (named, named.kind) == ("ct.nii: Seen.", kind)


def test_a_copy_keeps_its_kind():  # as one that comes from another process does
    made = copy.copy(Notice("Seen.", "tilt"))
    assert (made, made.kind) == ("Seen.", "tilt")


def test_every_kind_has_its_line_in_the_docs():
    lines = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(kind for kind, _, _ in lines) == sorted(get_args(Kind))
    assert [kind for kind, what, then in lines if len(what) < 10 or len(then) < 6] == []


def test_notes_are_kinds():
    assert set(get_args(Kind)) >= NOTES
