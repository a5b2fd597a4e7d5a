"""Where the time goes."""

import time

import pytest

from tomoseg.inference.stages import Stages


def slow(items, seconds):
    for item in items:
        time.sleep(seconds)
        yield item


def test_what_is_made_of_another_stages_items_counts_without_their_time():
    stages = Stages()
    with stages("all"):
        inner = stages.of("inner", slow(range(5), 0.04))
        assert list(stages.of("outer", slow(inner, 0.01))) == [0, 1, 2, 3, 4]
    # sleeping takes as long as was asked for or longer: what can be said for certain is who has the inner's part
    assert stages.seconds["inner"] >= 0.2
    assert stages.seconds["outer"] >= 0.05
    assert stages.seconds["inner"] + stages.seconds["outer"] == pytest.approx(stages.seconds["all"], rel=0.05)


def test_an_error_while_making_is_passed_on():
    def broken():
        yield 1
        raise ValueError("made no second")

    made = Stages().of("broken", broken())
    assert next(made) == 1
    with pytest.raises(ValueError, match="made no second"):
        next(made)
