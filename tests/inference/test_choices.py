"""What decides: a request goes before what was tuned, and what a label map cannot have is told."""

import numpy as np
import pytest

from tomoseg.errors import ConfigError, LabelError
from tomoseg.inference.choices import choices_of
from tomoseg.labels import LabelSet
from tomoseg.models.tuned import Tuned
from tomoseg.options import Request

LABELS = LabelSet.total().subset(["spleen", "liver", "aorta"])
TUNED = Tuned("", 0.5, {"liver": 0.3, "aorta": 0.8}, {"liver": ["largest", "crf:3"], "spleen": ["fill_holes"]})


def texts(choices):
    return {name: [str(step) for step in steps] for name, steps in choices.steps.items()}


def test_without_tuning_nothing_is_done():
    choices = choices_of(LABELS, None, Request())
    assert (choices.labels, choices.steps, choices.notices) == (LABELS, {}, ())
    assert (choices.decisions.thresholds, choices.decisions.smoothing, choices.decisions.flips) == ({}, 0, False)
    assert choices.offsets.tolist() == [0, 0, 0]


def test_what_was_tuned_holds():
    choices = choices_of(LABELS, TUNED, Request())
    assert choices.decisions.thresholds == {"liver": 0.3, "aorta": 0.8}
    assert choices.decisions.smoothing == 0.5
    assert texts(choices) == {"liver": ["largest", "crf:3"], "spleen": ["fill_holes"]}
    assert choices.offsets.dtype == np.float32
    by_name = dict(zip(LABELS.names, choices.offsets.tolist(), strict=True))
    assert by_name == pytest.approx({"spleen": 0, "liver": np.log(3 / 7), "aorta": np.log(4)})


@pytest.mark.parametrize(
    ("asked", "thresholds"),
    [
        (("liver=0.6",), {"liver": 0.6, "aorta": 0.8}),
        (("0.4",), {"spleen": 0.4, "liver": 0.4, "aorta": 0.4}),
        (("0.4", "aorta=0.9"), {"spleen": 0.4, "liver": 0.4, "aorta": 0.9}),
    ],
)
def test_thresholds_go_before_tuned_ones_each_for_itself(asked, thresholds):
    assert choices_of(LABELS, TUNED, Request(threshold=asked)).decisions.thresholds == thresholds


def test_smoothing_and_steps_go_before_tuned_ones_and_may_be_none():
    assert choices_of(LABELS, TUNED, Request(smoothing=0.0)).decisions.smoothing == 0
    assert choices_of(LABELS, TUNED, Request(smoothing=1.5)).decisions.smoothing == 1.5
    assert choices_of(LABELS, TUNED, Request(postprocess=())).steps == {}
    given = choices_of(LABELS, TUNED, Request(postprocess=("aorta=largest",)))
    assert texts(given) == {"aorta": ["largest"]}


def test_only_of_the_structures_asked_for():
    choices = choices_of(LABELS, TUNED, Request(roi_subset=("aorta", "spleen")))
    assert set(choices.labels.names) == {"aorta", "spleen"}
    assert choices.decisions.thresholds == {"aorta": 0.8}
    assert texts(choices) == {"spleen": ["fill_holes"]}
    with pytest.raises(ConfigError, match=r"threshold liver=0\.4: expected one of 2 known names, got 'liver'"):
        choices_of(LABELS, TUNED, Request(roi_subset=("aorta", "spleen"), threshold=("liver=0.4",)))
    with pytest.raises(LabelError, match="got 'livr'; did you mean 'liver'"):
        choices_of(LABELS, TUNED, Request(roi_subset=("livr",)))


def test_a_tuned_random_field_is_left_out_of_a_label_map_and_told():
    choices = choices_of(LABELS, TUNED, Request(ml=True))
    assert texts(choices) == {"liver": ["largest"], "spleen": ["fill_holes"]}
    (notice,) = choices.notices
    assert (notice.kind, notice.level) == ("tuned step", "note")
    assert str(notice).startswith("Left out: liver=crf:3, which tuning chose")
    assert choices_of(LABELS, TUNED, Request()).notices == ()
    assert choices_of(LABELS, TUNED, Request(ml=True, roi_subset=("spleen",))).notices == ()
    assert choices_of(LABELS, TUNED, Request(ml=True, postprocess=("largest",))).notices == ()


def test_a_random_field_that_is_asked_for_with_a_label_map_is_refused():
    with pytest.raises(ConfigError, match=r"expected masks for crf, got --ml; leave --ml off, or crf out"):
        choices_of(LABELS, None, Request(ml=True, postprocess=("liver=crf:3",)))


def test_mirror_images_only_of_what_has_a_counterpart():
    assert choices_of(LABELS, None, Request(flips=True)).decisions.flips
    sided = LabelSet.total().subset(["liver", "kidney_left"])
    with pytest.raises(
        ConfigError, match="counterpart of every structure, for flips, got none for kidney_left; leave flips off"
    ):
        choices_of(sided, None, Request(flips=True))
    assert choices_of(sided, None, Request(flips=True, roi_subset=("liver",))).decisions.flips
    both = LabelSet.total().subset(["liver", "kidney_left", "kidney_right"])
    assert choices_of(both, None, Request(flips=True, roi_subset=("kidney_left",))).decisions.flips
