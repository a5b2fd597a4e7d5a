from tests.terminal.shown import rows_in
from tomoseg.models.tuned import Tuned
from tomoseg.postprocess.steps import Step
from tomoseg.terminal.tuning import show_choices
from tomoseg.workflows.tune import Choice


def test_what_was_chosen_for_each_structure(capsys):
    tuned = Tuned("0" * 64, smoothing=0.5, chosen_on={"dice_before": 0.7, "dice_after": 0.75})
    choices = [
        Choice("liver", 0.8, 0.85, 0.4, (Step("largest"), Step("closing", 2.0)), 7),
        Choice("rib", 0.6, 0.65, 0.5, (), 5),
    ]
    show_choices(tuned, choices)
    printed = capsys.readouterr().out
    assert rows_in(printed)[1:] == [
        ("liver", "7", "0.4", "largest, closing:2", "0.800", "0.850"),
        ("rib", "5", "0.5", "-", "0.600", "0.650"),
    ]
    assert "Smoothing over slices: 0.5. Mean Dice on the cases that chose it: 0.7000 before, 0.7500 after" in printed
    assert "Left as they are" not in printed


def test_structures_of_too_few_patients_are_named(capsys):
    chosen_on = {"dice_before": 0.7, "dice_after": 0.75, "left": {"heart": 0, "aorta": 4}}
    show_choices(Tuned("0" * 64, chosen_on=chosen_on), [Choice("rib", 0.6, 0.65, 0.5, (), 5)])
    assert (
        "Left as they are, since fewer than 5 patients show them: heart (0), aorta (4). Smoothing, which would change"
    ) in capsys.readouterr().out
