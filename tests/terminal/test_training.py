"""What a person reads of a run, an epoch a line."""

import pytest

from tomoseg.terminal.training import watch

PLAIN = {"epoch": 3, "train_loss": 0.25, "learning_rate": 1e-3, "minutes": 12.04}


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "epoch   3    12.0 min  loss 0.2500"),
        (
            {"validation_loss": 0.5, "validation_dice": 0.875},
            "epoch   3    12.0 min  loss 0.2500  validation loss 0.5000  Dice 0.8750",
        ),
        ({"validation_dice": None}, "epoch   3    12.0 min  loss 0.2500"),
        ({"curriculum_share": 0.65}, "epoch   3    12.0 min  loss 0.2500  drawn from the easiest 65% of slices"),
        ({"curriculum_share": 1.0}, "epoch   3    12.0 min  loss 0.2500"),
    ],
    ids=["plain", "validated", "nothing to score", "curriculum", "end of the curriculum"],
)
def test_the_line_of_an_epoch(capsys, more, line):
    with watch(lambda: False) as listener:
        listener.on_epoch(PLAIN | more)
    assert capsys.readouterr().out.splitlines() == [line]
