"""Scores written and read again."""

import pytest

from tests.evaluation.made import structure_score
from tomoseg.errors import InputError
from tomoseg.evaluation.score_files import read_scores, write_scores
from tomoseg.evaluation.scores import CaseScore

SCORES = [
    CaseScore(
        "a",
        (structure_score("one", 0.5, 1 / 3, 8.0, 6.0, 0.25, 2.5, 1 / 7), structure_score("two", None, None, 0.0, 1.5)),
        "p",
        (1.5, 1.5, 3.0),
    ),
    CaseScore("b", (structure_score("one", 1.0, 1.0, 2.0, 2.0),)),
]


def test_a_table_by_hand(tmp_path):
    write_scores(SCORES, tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == (
        "case,patient,spacing_mm,structure,outcome,dice,iou,surface_dice,hd95_mm,surface_distance_mm,reference_ml,predicted_ml,"
        "volume_error_ml,volume_error_percent,false_positive_ml"
    )
    assert lines[1] == f"a,p,1.5 1.5 3.0,one,found,0.5,{1 / 3},0.25,2.5,{1 / 7},8.0,6.0,-2.0,-25.0,"
    assert lines[2] == "a,p,1.5 1.5 3.0,two,false alarm,,,,,,0.0,1.5,,,1.5"
    assert lines[3].startswith("b,b,,one,found,1.0,1.0,,,,2.0,2.0,0.0,0.0,")


def test_what_is_written_is_read(tmp_path):
    write_scores(SCORES, tmp_path / "scores.csv")
    found = read_scores(tmp_path)
    assert found == [SCORES[0], CaseScore("b", SCORES[1].structures, "b")]
    assert read_scores(tmp_path / "scores.csv") == found


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected scores, got: No such file or directory; name a folder"):
        read_scores(tmp_path)
    (tmp_path / "scores.csv").write_text("case,dice\na,0.5\n")
    with pytest.raises(InputError, match=r"expected the columns of scores.csv, got: .*; evaluate again"):
        read_scores(tmp_path)
    (tmp_path / "scores.csv").write_text(",".join(["case", "patient", "structure"]) + "\na,b,c\n")
    with pytest.raises(InputError, match="expected the columns"):
        read_scores(tmp_path)


def test_a_cell_longer_than_any_is_no_scores(tmp_path):
    (tmp_path / "scores.csv").write_text("case,patient\n" + 200_000 * "x" + ",a\n")
    with pytest.raises(InputError, match=r"expected the columns of scores\.csv, got: field larger than field limit"):
        read_scores(tmp_path)
