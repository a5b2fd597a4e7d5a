"""Success rates and ranks, by hand."""

import csv

import numpy as np
import pytest

from tests.evaluation.made import structure_score
from tomoseg.evaluation.ranking import Ranked, rank, success_rates, write_ranking
from tomoseg.evaluation.scores import CaseScore
from tomoseg.labels import LabelSet, Structure

LABELS = LabelSet(
    (
        Structure(1, "liver", "organs"),
        Structure(2, "rib", "bones"),
        Structure(3, "spleen", "organs"),
        Structure(4, "hip", "bones"),
    )
)
DICE = {"liver": (0.7, 0.8, 0.0), "rib": (0.9, 0.6, None), "spleen": (0.95, 0.4, 0.7)}


def cases():
    def one(name, k):
        dice = DICE[name][k]
        return structure_score(name, dice, dice, 0.0 if dice is None else 1.0, 1.0)

    return [CaseScore(f"c{k}", tuple(one(name, k) for name in DICE)) for k in range(3)]


def test_a_dice_at_the_threshold_succeeds():
    assert success_rates(np.array([14 / 20, 0.69999]), (0.7,)) == (0.5,)


def test_ranks_and_rates_by_hand():
    found = rank(cases(), LABELS, (0.9, 0.5, 0.5))
    third = 1 / 3
    assert found.thresholds == (0.5, 0.9)
    rib, spleen, liver, hip = found.structures
    assert rib == Ranked("rib", "bones", 2, 0.75, 0.75, (1.0, 0.5), 1, 1)  # the absent one does not count
    assert liver == Ranked("liver", "organs", 3, 0.7, liver.mean, (2 * third, 0.0), 2, 3)  # the missed one does
    assert spleen == Ranked("spleen", "organs", 3, 0.7, spleen.mean, (2 * third, third), 2, 2)
    assert (liver.mean, spleen.mean) == pytest.approx((1.5 / 3, 2.05 / 3))
    assert hip == Ranked("hip", "bones", 0)
    assert found.known == (rib, spleen, liver)
    assert found.overall == pytest.approx((7 / 9, 5 / 18))


def test_among_equal_medians_the_more_successful_comes_first():
    assert [one.structure for one in rank(cases(), LABELS).structures] == ["rib", "spleen", "liver", "hip"]


def test_nothing_scored_ranks_nothing():
    found = rank([], LABELS)
    assert (found.known, found.overall) == ((), ())
    assert [one.structure for one in found.structures] == list(LABELS.names)


def test_it_is_written_a_line_a_structure(tmp_path):
    write_ranking(rank(cases(), LABELS, (0.5, 0.9)), tmp_path / "ranking.csv")
    with (tmp_path / "ranking.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0].items()) == [
        ("rank_by_median", "1"),
        ("rank_by_success", "1"),
        ("structure", "rib"),
        ("group", "bones"),
        ("n", "2"),
        ("median_dice", "0.75"),
        ("mean_dice", "0.75"),
        ("dice_at_least_0.5", "1.0"),
        ("dice_at_least_0.9", "0.5"),
    ]
    assert list(rows[-1].values()) == ["", "", "hip", "bones", "0", "", "", "", ""]
