import re

from tests.terminal.screen import run_on_terminal
from tests.terminal.shown import rows_in
from tomoseg.language.words import speak
from tomoseg.models.tuned import Tuned, Tuning
from tomoseg.postprocess.steps import PostprocessStep
from tomoseg.terminal.models import show_tuning
from tomoseg.terminal.tuning import show_choices
from tomoseg.workflows.choosing import Choice


def test_what_was_chosen_for_each_structure(capsys):
    tuned = Tuned("0" * 64, smoothing=0.5, chosen_on={"dice_before": 0.7, "dice_after": 0.75, "dice_on_others": 0.72})
    choices = [
        Choice("liver", 0.8, 0.85, 0.4, (PostprocessStep("largest"), PostprocessStep("closing", 2.0)), 7, 0.83),
        Choice("rib", 0.6, 0.6, 0.5, (), 5, 0.6, "threshold 0.4: -0.0100"),
    ]
    show_choices(tuned, choices)
    printed = capsys.readouterr().out
    assert rows_in(printed)[1:] == [
        ("liver", "7", "0.4", "largest, closing:2", "0.800", "0.850", "0.830"),
        ("rib", "5", "0.5", "-", "0.600", "0.600", "0.600"),
    ]
    told = " ".join(printed.split())
    assert (
        "Smoothing over slices: 0.5. Mean Dice: 0.7000 before and 0.7500 after on the cases it was chosen on, 0.7200 "
        "on other patients (+0.0200, the gain to expect on new ones)."
    ) in told
    assert "Not used, since there was no gain on other patients: rib (threshold 0.4: -0.0100)." in told
    assert "Left as they were" not in printed


def test_what_was_not_used_is_in_french_too(capsys):
    chosen_on = {"dice_before": 0.7, "dice_after": 0.7, "dice_on_others": 0.7}
    refused = Choice("rib", 0.6, 0.6, 0.5, (), 5, 0.6, "threshold 0.4: -0.0100")
    speak("fr")
    try:
        show_choices(Tuned("0" * 64, chosen_on=chosen_on), [refused])
    finally:
        speak("en")
    assert "rib (seuil 0,4\xa0: -0,0100)." in capsys.readouterr().out


def test_structures_of_too_few_patients_are_named(capsys):
    chosen_on = {"dice_before": 0.7, "dice_after": 0.75, "dice_on_others": 0.7, "left": {"heart": 0, "aorta": 4}}
    show_choices(Tuned("0" * 64, chosen_on=chosen_on), [Choice("rib", 0.6, 0.65, 0.5, (), 5, 0.6)])
    assert (
        "Left as they were, since fewer than 5 patients show them: heart (0), aorta (4). Smoothing, which would change"
    ) in capsys.readouterr().out


def test_structures_that_share_a_threshold_are_named(capsys):
    chosen_on = {"dice_before": 0.7, "dice_after": 0.75, "dice_on_others": 0.7, "left": {}, "together": {"heart": 2}}
    show_choices(Tuned("0" * 64, chosen_on=chosen_on), [Choice("heart", 0.6, 0.65, 0.2, (), 2, 0.6)])
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "Fewer than 5 patients show these structures, so one threshold was chosen for all of them together: heart (2). "
        "Smoothing"
    ) in told
    assert "Left as they were" not in told


def test_structures_that_are_decided_alike_are_told_in_one_line(capsys):
    names = [f"rib_left_{n}" for n in range(1, 13)]
    tuned = Tuned("a", 0.0, {**dict.fromkeys(names, 0.25), "liver": 0.3}, {}, {})
    show_tuning(Tuning(tuned, is_current=True))
    told = capsys.readouterr().out
    assert "12 structures: threshold 0.25, steps none" in told
    assert "liver: threshold 0.3, steps none" in told


SCRIPT = """
import time
from tomoseg.terminal import rows
from tomoseg.terminal.tuning import watch_tuning
rows.LEAST_SECONDS = 0.0
with watch_tuning() as (on_case, on_structure):
    for step in (lambda: on_case(1, 1), lambda: on_structure("liver", 0, 3), lambda: on_structure("aorta", 2, 3)):
        step()
        time.sleep(0.5)
    on_case(1, 2)
    time.sleep(0.5)
"""


def test_after_the_cases_it_counts_the_structures_that_it_chooses_for():
    stood, status = run_on_terminal(["-c", SCRIPT])
    assert status == 0
    screens = ["\n".join(line.rstrip() for line in lines if line) for lines in stood]
    cases = r"tune +━+ 1 of 1 cases +0:00:0\d"
    assert any(re.fullmatch(cases + r"\nchoose ━+ 0 of 3 structures 0:00:0\d liver", one) for one in screens)
    third = r"\nchoose .* 2 of 3 structures 0:00:0\d(, 0:00:0\d left)? aorta"
    assert any(re.fullmatch(cases + third, one) for one in screens)
    assert any(re.fullmatch(r"tune .* 1 of 2 cases +0:00:0\d", one) for one in screens)  # the next smoothing
    assert screens[-1] == ""
