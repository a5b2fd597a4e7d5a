"""Scores in the terminal: which columns there are, and means by hand."""

from dataclasses import replace

from tests.evaluation.made import structure_score
from tests.terminal.shown import rows_in
from tomoseg.evaluation.ranking import rank
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import compare, summarise
from tomoseg.labels import LabelSet, Structure
from tomoseg.terminal.scores import show_comparison, show_evaluation, show_ranking, show_scores
from tomoseg.workflows.evaluate import Evaluation

LABELS = LabelSet((Structure(1, "liver", "organs"), Structure(2, "rib", "bones")))


def scores(shift=0.0):
    # Liver twice: mean 0.7 + shift; rib once, absent in the other case, where 3 ml of it are predicted.
    liver = [structure_score("liver", dice + shift, 0.5, 10.0, 12.0) for dice in (0.6, 0.8)]
    ribs = structure_score("rib", 0.5, 0.25, 10.0, 10.0), structure_score("rib", None, None, 0.0, 3.0)
    return [CaseScore(name, pair) for name, pair in zip("ab", zip(liver, ribs, strict=True), strict=True)]


def test_structures_groups_and_the_mean_by_hand(capsys):
    show_scores(summarise(scores(), LABELS), "2 cases")
    printed = capsys.readouterr().out
    assert rows_in(printed) == [
        ("structure", "n", "Dice", "IoU", "volume error %", "missed", "absent in", "false positive ml"),
        ("liver", "2", "0.700", "0.500", "20.0", "0", "0", "-"),
        ("rib", "1", "0.500", "0.250", "0.0", "0", "1", "3"),
        ("group", "structures", "Dice", "IoU", "volume error %"),
        ("organs", "1", "0.700", "0.500", "20.0"),
        ("bones", "1", "0.500", "0.250", "0.0"),
    ]
    assert "Mean over 2 structures: Dice 0.6000, IoU 0.3750, volume error % 10.0" in printed


def test_nothing_scored_leaves_the_table_without_metrics(capsys):
    show_scores(summarise([], LABELS), "0 cases")
    printed = capsys.readouterr().out
    assert rows_in(printed)[0] == ("structure", "n", "missed", "absent in", "false positive ml")
    assert "Mean over" not in printed


def test_success_and_the_best_and_worst_by_hand(capsys):
    show_ranking(rank(scores(), LABELS))
    # liver 0.6, 0.8: rates 1, 1/2, 1/2, 0; rib 0.5: rates 1, 0, 0, 0
    said = "Success, mean over 2 structures: a Dice of at least 0.5 in 100%, 0.7 in 25%, 0.8 in 25%, 0.9 in 0% of cases"
    assert capsys.readouterr().out == f"{said}\n"
    names = LabelSet.from_names(list("abcdefg"))
    case = CaseScore("x", tuple(structure_score(n, k / 10, 0.5, 1.0, 1.0) for k, n in enumerate(names.names, 1)))
    show_ranking(rank([case], names, (0.5,)))
    assert capsys.readouterr().out.splitlines() == [
        "Success, mean over 7 structures: a Dice of at least 0.5 in 43% of cases",
        "Best median Dice: g 0.700, f 0.600, e 0.500",
        "Worst median Dice: a 0.100, b 0.200, c 0.300",
    ]
    show_ranking(rank([], LABELS))
    assert capsys.readouterr().out == ""


def test_few_patients_are_said_to_give_no_intervals(capsys):
    for count, said in ((4, True), (5, False)):
        cases = [replace(scores()[0], case=f"c{number}") for number in range(count)]
        show_evaluation(Evaluation(summarise(cases, LABELS, draws=100), cases, LABELS, rank(cases, LABELS)), "", None)
        printed = capsys.readouterr().out
        assert (f"No intervals: fewer than 5 patients ({count})." in printed) is said
        assert ("Dice 0.5500 (" in printed) is not said


def test_a_comparison_of_few_patients_says_why_it_has_no_p(capsys):
    for count, shown in ((4, True), (5, False)):
        ours, theirs = ([replace(scores(s)[0], case=f"c{n}") for n in range(count)] for s in (0.1, 0.0))
        show_comparison(compare(ours, theirs, LABELS), "theirs")
        printed = capsys.readouterr().out
        said = "No interval and no p-value where fewer than 5 patients have a pair; 4 patients in common."
        assert (said in printed) is shown
        assert rows_in(printed)[1][3:] == (("-", "-", "-") if shown else ("0.100", "0.100", "0.062"))


def test_a_comparison_names_cases_of_one_side(capsys):
    ours, theirs = scores(0.1), [*scores(), CaseScore("c", ())]
    show_comparison(compare(ours, theirs, LABELS), "theirs")
    printed = capsys.readouterr()
    assert [row[:3] for row in rows_in(printed.out)[1:]] == [
        ("liver", "2", "0.100"),
        ("rib", "1", "0.000"),
        ("all", "3", "0.050"),
    ]
    assert "warning: 1 case in theirs without a counterpart here: c" in printed.err
