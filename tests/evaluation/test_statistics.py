"""Intervals and paired comparisons against what is known of them, and against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.made import structure_score
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.statistics import Bootstrap, holm
from tomoseg.evaluation.summary import compare, summarise
from tomoseg.labels import LabelSet

NAN = np.nan
LABELS = LabelSet.from_names(["liver", "spleen"])


def test_means_by_hand():
    boot = Bootstrap(["a", "b", "c"])
    column = boot.column(np.array([0.2, NAN, 0.4]))
    assert (column.mean, column.n) == (pytest.approx(0.3), 2)
    # The columns' means are 0.3 and 0.9; a column without a value is none.
    table = boot.table(np.array([[0.2, NAN, NAN], [NAN, 0.9, NAN], [0.4, NAN, NAN]]))
    assert (table.mean, table.n) == (pytest.approx(0.6), 2)
    nothing = boot.table(np.full((3, 2), NAN))
    assert (nothing.mean, nothing.low, nothing.high, nothing.n) == (None, None, None, 0)


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(1).normal(0.8, 0.1, 40)
    ours = Bootstrap([str(i) for i in range(40)], draws=20000).column(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=2).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert ours.mean == pytest.approx(values.mean())


def test_what_does_not_vary_has_no_width():
    found = Bootstrap(list("abcde")).column(np.full(5, 0.5))
    assert (found.low, found.high) == (0.5, 0.5)


def test_cases_of_a_patient_come_together():
    # Five patients of eight cases, one of them 1, the others 0: in a third of all draws that one is missing, so the
    # interval begins at 0. Of forty independent cases eight are 1, and hardly any draw lacks them.
    values = np.repeat([0.0, 0.0, 0.0, 0.0, 1.0], 8)
    together = Bootstrap([name for name in "abcde" for _ in range(8)]).column(values)
    assert (together.low, together.mean) == (0, pytest.approx(0.2))
    assert together.high >= 0.6
    apart = Bootstrap([str(i) for i in range(40)]).column(values)
    assert 0.05 < apart.low < apart.high < 0.4


def test_fewer_than_five_patients_give_no_interval():
    found = Bootstrap(list("abcd")).column(np.array([0.1, 0.3, 0.2, 0.2]))
    assert (found.mean, found.low, found.high, found.n) == (pytest.approx(0.2), None, None, 4)
    assert Bootstrap(list("abcde")).column(np.array([0.1, 0.3, 0.2, 0.2, 0.2])).low is not None
    assert Bootstrap([]).table(np.zeros((0, 2))).mean is None
    # Many cases of few patients are few patients, and a patient without a value is none.
    cases = Bootstrap(list("aabbccdd")).column(np.linspace(0, 1, 8))
    assert (cases.low, cases.high, cases.n) == (None, None, 8)
    lacking = Bootstrap(list("abcde")).column(np.array([0.1, 0.3, 0.2, 0.2, NAN]))
    assert (lacking.low, lacking.high, lacking.n) == (None, None, 4)
    # Of a table, those count that have a value anywhere; of a difference, those that have a pair.
    table = Bootstrap(list("abcde")).table(np.array([[0.1, NAN]] * 3 + [[NAN, 0.2]] * 2))
    assert (table.mean, table.n) == (pytest.approx(0.15), 2)
    assert table.low <= table.mean <= table.high
    paired = Bootstrap(list("abcde")).paired(np.ones((5, 1)), np.array([[0.5], [0.4], [0.3], [0.2], [NAN]]))
    assert (paired.difference, paired.low, paired.high, paired.n) == (pytest.approx(0.65), None, None, 4)


def case(name, liver, spleen=None, patient=""):
    scores = [structure_score("liver", liver, liver, 1.0, 1.0)]
    if spleen is not None:
        scores.append(structure_score("spleen", spleen, spleen, 1.0, 1.0))
    return CaseScore(name, tuple(scores), patient)


def test_a_paired_comparison_by_hand():
    dice = np.random.default_rng(0).uniform(0.5, 0.8, 12)
    gain = np.linspace(0.01, 0.12, 12)
    theirs = [case(f"c{i}", d, 0.9) for i, d in enumerate(dice)]
    ours = [case(f"c{i}", d + g, 0.9) for i, (d, g) in enumerate(zip(dice, gain, strict=True))]
    found = compare([*ours, case("mine", 0.1)], [*theirs, case("other", 0.2)], LABELS)
    assert (found.cases, found.only_ours, found.only_theirs) == (12, ("mine",), ("other",))
    liver, spleen = found.structures["liver"]["dice"], found.structures["spleen"]["dice"]
    assert liver.difference == pytest.approx(0.065)
    assert 0.01 < liver.low < 0.065 < liver.high < 0.12
    assert liver.p == pytest.approx(stats.wilcoxon(gain).pvalue) == pytest.approx(2 / 2**12)
    assert (spleen.difference, spleen.low, spleen.high, spleen.p, spleen.n) == (0, 0, 0, None, 12)
    assert found.overall["dice"].difference == pytest.approx(0.0325)  # over structures: half of it
    assert found.overall["dice"].n == 24


def test_only_pairs_count():
    # Spleen is scored in one case of each, but never in the same.
    found = compare([case("a", 0.5, 0.9), case("b", 0.5)], [case("a", 0.5), case("b", 0.5, 0.1)], LABELS)
    assert (found.structures["spleen"]["dice"].difference, found.structures["spleen"]["dice"].n) == (None, 0)
    assert found.overall["dice"].difference == 0


def test_the_patients_and_not_the_cases_are_tested():
    ours = [case(f"c{i}", 0.6, patient=f"p{i // 2}") for i in range(10)]
    theirs = [case(f"c{i}", 0.5, patient=f"p{i // 2}") for i in range(10)]
    found = compare(ours, theirs, LABELS)
    assert found.overall["dice"].p == pytest.approx(2 / 2**5)  # five patients
    assert (found.cases, found.patients, found.lacks_patients) == (10, 5, False)


def test_fewer_than_five_patients_give_no_p():
    ours = [case(f"c{i}", 0.6, 0.9 if i else None, patient=f"p{i // 2}") for i in range(10)]
    theirs = [case(f"c{i}", 0.5, 0.7 if i > 1 else None, patient=f"p{i // 2}") for i in range(10)]
    found = compare(ours, theirs, LABELS)
    liver, spleen = found.structures["liver"]["dice"], found.structures["spleen"]["dice"]
    assert (liver.p, liver.n) == (pytest.approx(2 / 2**5), 10)
    # Spleen has eight pairs, of four patients: one of the five is scored by one side alone.
    assert (spleen.difference, spleen.low, spleen.high, spleen.p, spleen.n) == (pytest.approx(0.2), None, None, None, 8)
    assert found.corrected_p() == {"liver": liver.p, "spleen": None}  # what is not tested costs the others nothing
    assert found.lacks_patients
    few = compare(ours[:8], theirs[:8], LABELS)
    assert (few.patients, few.overall["dice"].p, few.overall["dice"].low) == (4, None, None)


def test_holm_by_hand():
    assert holm([0.02, 0.5, None, 0.03]) == [0.06, 0.5, None, 0.06]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_summary_has_intervals_when_they_are_asked_for():
    cases = [case("a", 0.6), case("b", 0.8), case("c", 0.7), case("d", 0.65), case("e", 0.75)]
    plain, drawn = summarise(cases, LABELS), summarise(cases, LABELS, draws=500)
    assert (plain.overall["dice"].low, plain.dice) == (None, drawn.dice)
    assert 0.6 <= drawn.overall["dice"].low < 0.7 < drawn.overall["dice"].high <= 0.8 + 1e-9
    assert (drawn.patients, drawn.structures[0].outcomes["found"]) == (5, 5)
    few = summarise(cases[:4], LABELS, draws=500)
    assert (few.dice, few.overall["dice"].low, few.structures[0].metrics["dice"].high) == (
        pytest.approx(0.6875),
        None,
        None,
    )
