"""Notices are messages with a kind, and the docs know every kind."""

import json
import pickle
import re
from pathlib import Path
from typing import get_args

import pytest

from tomoseg.notices import NOTES, Kind, Notice

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "warnings.md"


@pytest.mark.parametrize(("kind", "level"), [("tilt", "warning"), ("left out", "note")])
def test_a_notice_is_a_message_with_a_kind(kind, level):
    notice = Notice("Seen.", kind)
    assert (str(notice), f"{notice}") == ("Seen.", "Seen.")
    assert (notice.kind, notice.level) == (kind, level)
    assert notice.of("ct.nii") == Notice("ct.nii: Seen.", kind)


def test_it_keeps_its_kind_in_json_and_between_processes():
    notice = Notice("Vu : 2 \u00e0 3.", "tilt")
    written = json.dumps(notice.as_dict())
    assert json.loads(written) == {"kind": "tilt", "level": "warning", "message": "Vu : 2 \u00e0 3."}
    assert Notice.from_dict(json.loads(written)) == notice
    assert pickle.loads(pickle.dumps(notice)) == notice  # noqa: S301  # our own


def test_every_kind_has_its_line_in_the_docs():
    lines = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(kind for kind, _, _ in lines) == sorted(get_args(Kind))
    assert [kind for kind, what, then in lines if len(what) < 10 or len(then) < 6] == []


def test_notes_are_kinds():
    assert set(get_args(Kind)) >= NOTES
