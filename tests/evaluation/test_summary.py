"""Means over cases, then over structures, against numbers by hand."""

import pytest

from tests.evaluation.made import structure_score
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import summarise
from tomoseg.labels import LabelSet, Structure

LABELS = LabelSet((Structure(1, "liver", "organs"), Structure(2, "spleen", "organs"), Structure(3, "rib", "bones")))


def present(name, dice, iou=0.5):
    return structure_score(name, dice, iou, 10.0, 8.0)


def absent(name, predicted_ml):
    return structure_score(name, None, None, 0.0, predicted_ml)


def test_means_by_hand():
    # Liver in three cases: mean 0.6. Spleen once: 0.9. Their mean is 0.75, though that of all four scores is 0.675.
    cases = [
        CaseScore("a", (present("liver", 0.8, 0.7), present("spleen", 0.9, 0.8), absent("rib", 3.0))),
        CaseScore("b", (present("liver", 0.4, 0.2), absent("spleen", 4.0), absent("rib", 0.0))),
        CaseScore("c", (present("liver", 0.6, 0.3),)),
    ]
    summary = summarise(cases, LABELS)
    liver, spleen, rib = summary.structures
    assert (liver.structure, liver.n, liver.absent, liver.false_positive_ml) == ("liver", 3, 0, None)
    assert (liver.dice, liver.iou) == (pytest.approx(0.6), pytest.approx(0.4))
    assert (spleen.n, spleen.dice, spleen.absent, spleen.false_positive_ml) == (1, 0.9, 1, 4.0)
    assert (rib.n, rib.dice, rib.iou, rib.absent, rib.false_positive_ml) == (0, None, None, 2, 1.5)
    assert summary.dice == pytest.approx(0.75)
    assert summary.iou == pytest.approx(0.6)
    assert {name: group["dice"].mean for name, group in summary.groups.items()} == {
        "organs": pytest.approx(0.75),
        "bones": None,
    }
    assert summary.cases == 3


def test_zero_counts_and_nothing_is_none():
    summary = summarise([CaseScore("a", (present("rib", 0.0, 0.0),))], LABELS)
    assert summary.dice == 0.0
    assert [summary.groups[name]["dice"].mean for name in ("organs", "bones")] == [None, 0.0]
    empty = summarise([], LABELS)
    assert (empty.dice, empty.iou, empty.cases) == (None, None, 0)
    assert [row.n for row in empty.structures] == [0, 0, 0]
