"""Notices are messages with a kind, and the docs know every kind."""

import json
import pickle
import re
from pathlib import Path
from typing import get_args

import pytest

from tomoseg.notices import DECISIVE, NOTES, SMALL, Kind, Notice, by_weight, gathered

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
    assert set(get_args(Kind)) >= NOTES | DECISIVE | SMALL
    assert not NOTES & DECISIVE | NOTES & SMALL | DECISIVE & SMALL


def test_the_decisive_come_first_and_notes_last():
    kinds = ("left out", "headers", "missing slices", "unlike training", "other body part", "uneven gaps", "not HU")
    told = [Notice(kind, kind) for kind in kinds]
    assert [notice.kind for notice in by_weight([*told, told[2]])] == [
        *("other body part", "not HU", "missing slices", "unlike training", "uneven gaps", "headers", "left out")
    ]


def test_what_is_said_of_many_scans_is_one_line_with_their_names():
    tilt, other = Notice("The gantry was tilted.", "tilt"), Notice("It seems to show abdomen.", "other body part")
    said = [("a", tilt), ("b", other), ("b", tilt), ("c", tilt)]
    assert gathered(said) == [
        Notice("b: It seems to show abdomen.", "other body part"),
        Notice("a, b, c: The gantry was tilted.", "tilt"),
    ]
    assert str(gathered([(f"s{n}", tilt) for n in range(9)])[0]).startswith("s0, s1, s2, s3, s4, s5 and 3 more: The")


def test_a_decisive_one_names_all_of_its_scans():
    other = Notice("It seems to show abdomen.", "other body part")
    names = [f"s{n}" for n in range(9)]
    assert str(gathered([(name, other) for name in names])[0]) == f"{', '.join(names)}: It seems to show abdomen."


def told(*said):
    return [str(notice) for notice in gathered([(name, Notice(text, "voxel size")) for name, text in said])]


def test_sentences_that_differ_in_numbers_alone_are_told_once():
    assert told(("a", "Voxels measure 0.98 mm."), ("b", "Voxels measure 1 mm."), ("c", "It is odd.")) == [
        "a, b: Voxels measure 0.98 mm. (The numbers are those of a.)",
        "c: It is odd.",
    ]
    # A number in a name is no number, and what is said twice of one scan is told twice.
    apart = [("a", "rib_1 is empty."), ("b", "rib_2 is empty."), ("b", "file 3/x is cut."), ("b", "file 4/x is cut.")]
    assert len(told(*apart)) == 4
    # One sentence of two kinds is two: one may be decisive, the other not.
    assert len(gathered([("a", Notice("It is odd.", "tilt")), ("b", Notice("It is odd.", "not HU"))])) == 2


def test_a_file_is_taken_off_the_front_alone():
    notice = Notice("in/a.nii: cut at in/a.nii: twice", "tilt")
    assert notice.without(Path("in") / "a.nii").message == "cut at in/a.nii: twice"
    assert notice.without("b.nii") == notice
