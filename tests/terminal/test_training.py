"""What a person sees of a run: a line an epoch, and on a real terminal a screen of bars."""

import re

import pytest

from tests.terminal.screen import run_on_terminal
from tests.training.tiny import make_dataset
from tomoseg.terminal.training import watch
from tomoseg.training.listener import Beginning, StepReport

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
        ({"view": "axial"}, "axial     epoch   3    12.0 min  loss 0.2500"),
    ],
    ids=["plain", "validated", "nothing to score", "curriculum", "end of the curriculum", "a view beside others"],
)
def test_the_line_of_an_epoch(capsys, more, line):
    with watch(lambda: False) as listener:
        listener.on_epoch(PLAIN | more)
    assert capsys.readouterr().out.splitlines() == [line]


def test_without_a_terminal_it_begins_with_what_is_trained_and_draws_nothing(capsys):
    facts = {"training cases": 10, "validation cases": 2, "structures": 7, "parameters": 1234, "dataset": "here"}
    with watch(lambda: False) as listener:
        listener.on_stage("loading PyTorch")
        listener.on_begin(Beginning(facts, {}, [{"epoch": 1}], "30 min"))
        listener.on_step(StepReport(1, 1, 3, 0.5, 1e-3, 4.0, 1.0, None, 0.1))
        listener.on_validated(1, 2)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out == (
        "Training: 10 training cases, 2 validation cases, 7 structures, 1,234 parameters; budget 30 min, 1 epoch done\n"
    )


SCRIPT = """
import time
from tomoseg.terminal.training import watch
from tomoseg.training.listener import Beginning, StepReport
with watch(lambda: False) as told:
    told.on_stage("loading PyTorch")
    time.sleep(0.15)
    told.on_begin(Beginning({"structures": 2}, {}, [], "30 min"))
    for number in range(9):
        epoch, step = number // 3 + 1, number % 3 + 1
        told.on_step(StepReport(epoch, step, 3, 3.7, 1.5e-3, 4.1, 0.01 * number + 0.99, None, (number + 1) / 30))
        time.sleep(0.45)
        if step == 3:
            told.on_validated(1, 2)
            time.sleep(0.15)
            told.on_epoch({"epoch": epoch, "minutes": 1.0, "train_loss": 3.5})
    told.on_warning("something is odd")
    time.sleep(0.15)
"""


@pytest.fixture(scope="module")
def stood():
    """What the script leaves on a terminal, piece by piece."""
    stood, status = run_on_terminal(["-c", SCRIPT], columns=80)
    assert status == 0
    return stood


class TestOnATerminal:
    def rows(self, stood, start):
        return [line for lines in stood for line in lines if line.startswith(start)]

    def test_it_says_what_it_does_before_the_first_step(self, stood):
        first = next(index for index, lines in enumerate(stood) if any(line.startswith("train ") for line in lines))
        assert any(line.startswith("loading PyTorch") for lines in stood[:first] for line in lines)
        assert self.rows(stood[first + 8 :], "loading PyTorch") == []

    def test_the_budget_is_shown_and_what_is_left_of_it(self, stood):
        # after a tenth in 1.01 minutes nine times as much is left: 545 s
        assert any(re.search("10% of 30 min 0:01:0[0-4], 0:09:0[0-5] left", row) for row in self.rows(stood, "train "))

    @pytest.mark.parametrize("epoch", [1, 2, 3])
    def test_the_clock_of_each_epoch_goes_on(self, stood, epoch):
        clocks = {m.group(1) for row in self.rows(stood, f"epoch {epoch} ") if (m := re.search(r" (0:00:\d\d)", row))}
        assert {"0:00:00", "0:00:01"} <= clocks
        assert any("step 2 of 3" in row for row in self.rows(stood, f"epoch {epoch} "))

    def test_the_line_of_an_epoch_is_a_line(self, stood):
        lines = [f"epoch {epoch:>3}     1.0 min  loss 3.5000" for epoch in (1, 2, 3)]
        left = ["Training: 2 structures; budget 30 min", *lines, "warning: something is odd"]
        assert [line for line in stood[-1] if line] == left

    def test_nothing_is_wider_than_the_screen(self, stood):
        assert {len(line) <= 80 for lines in stood for line in lines} == {True}
        shown = max(stood, key=lambda lines: sum(map(bool, lines)))
        assert any(line.rstrip() == "loss 3.7000  best Dice -  4 slices/s  learning rate 1.5e-03" for line in shown)


def test_the_command_on_a_terminal(tmp_path):
    make_dataset(tmp_path / "data")
    flags = (
        "--epochs",
        2,
        "--network.channels",
        4,
        8,
        "--sampling.slices-per-case",
        2,
        "--workers",
        0,
        "--no-export",
        "--validate-every",
        1,
    )
    command = (
        "-m",
        "tomoseg",
        "train",
        tmp_path / "data",
        "-o",
        tmp_path / "run",
        "--device",
        "cpu",
        "--preset",
        "default",
        *flags,
    )
    stood, status = run_on_terminal(command, columns=100)
    assert status == 0
    seen = {line.split("━")[0].strip() for lines in stood for line in lines if "━" in line}
    assert {"loading PyTorch", "train", "epoch 1"} <= seen
    first, second = (line for line in stood[-1] if line.startswith("epoch "))
    assert re.fullmatch(r"epoch   1 +\d\.\d min  loss \d\.\d{4}  validation loss \d\.\d{4}  Dice \d\.\d{4}", first)
    assert re.fullmatch(r"epoch   2 +\d\.\d min  loss \d\.\d{4}  validation loss \d\.\d{4}  Dice \d\.\d{4}", second)
    assert stood[-1][0].startswith("Training: ")
    assert "3 structures" in stood[-1][0]
