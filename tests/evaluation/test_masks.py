"""Scoring masks of a case: empties by each convention, and the same figures whatever holds the masks."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from surface_distance import metrics as surface_metrics

from tomoseg.evaluation.masks import Scoring, score_pairs
from tomoseg.evaluation.overlap import OverlapCounter
from tomoseg.evaluation.scores import EMPTIES
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask, pack
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks
from tomoseg.volume import SourceGrid

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

GRID = SourceGrid((3, 4, 12), np.diag([1.0, 1.0, 2.0, 1.0]))
DIAGONAL = np.sqrt(9 + 16 + 24**2)


def mask(*places):
    whole = np.zeros(GRID.shape, bool)
    for place in places:
        whole[place] = True
    return BoxedMask.of(whole)


def scored(predicted, reference, **scoring):
    (found,) = score_pairs([("liver", predicted, reference)], GRID, Scoring(**scoring))
    return found


def test_a_pair_by_hand():
    # Two voxels and one of them, 2 mm high: Dice 2 / 3, and half the reference's volume is missing.
    found = scored(mask((0, 0, 0)), mask((0, 0, 0), (0, 0, 1)))
    assert (found.dice, found.value("iou"), found.outcome) == (2 / 3, 0.5, "found")
    assert (found.reference_ml, found.predicted_ml) == (0.004, 0.002)
    assert (found.value("volume_error_ml"), found.value("volume_error_percent"), found.false_positive_ml) == (
        -0.002,
        -50,
        None,
    )
    assert (found.value("surface_dice"), found.value("hd95_mm")) == (1, 2)
    assert scored(mask((0, 0, 0)), mask((0, 0, 0), (0, 0, 1)), tolerance_mm=1.9).value("surface_dice") < 1
    assert scored(mask((0, 0, 0)), mask((0, 0, 0)), surfaces=False).value("hd95_mm") is None


EMPTY, FULL = mask(), mask((1, 1, 1))


@pytest.mark.parametrize(
    ("name", "both", "false_alarm", "missed_mm", "alarm_mm", "both_mm"),
    [
        ("tomoseg", None, None, DIAGONAL, None, None),
        ("totalsegmentator", None, None, None, None, None),
        ("nnunet", None, 0, None, None, None),
        ("brats", 1, 0, DIAGONAL, DIAGONAL, 0),
    ],
)
def test_empties_by_each_convention(name, both, false_alarm, missed_mm, alarm_mm, both_mm):
    rules = {"empties": EMPTIES[name]}
    nothing = scored(EMPTY, EMPTY, **rules)
    assert (nothing.dice, nothing.value("iou"), nothing.value("surface_dice")) == (both, both, both)
    assert (nothing.value("hd95_mm"), nothing.outcome, nothing.false_positive_ml) == (both_mm, "absent", 0)
    alarm = scored(FULL, EMPTY, **rules)
    assert (alarm.dice, alarm.value("iou"), alarm.value("surface_dice")) == (false_alarm,) * 3
    assert (alarm.outcome, alarm.false_positive_ml, alarm.value("volume_error_ml")) == ("false alarm", 0.002, None)
    assert alarm.value("surface_distance_mm") == (alarm_mm and pytest.approx(alarm_mm))
    missed = scored(EMPTY, FULL, **rules)
    assert (missed.dice, missed.value("iou"), missed.value("surface_dice"), missed.outcome) == (0, 0, 0, "missed")
    assert missed.value("hd95_mm") == (missed_mm and pytest.approx(missed_mm))
    assert missed.value("volume_error_percent") == -100


def test_a_prediction_beside_the_reference_has_missed_it():
    found = scored(mask((0, 0, 0)), mask((0, 0, 11)))
    assert (found.dice, found.outcome, found.value("hd95_mm")) == (0, "missed", 22)


def test_a_table_of_tolerances_is_looked_up():
    pair = mask((0, 0, 0)), mask((0, 0, 2))
    assert scored(*pair, tolerances_mm={"liver": 4.0}).value("surface_dice") == 1
    assert scored(*pair, tolerances_mm={"liver": 1.0}).value("surface_dice") == 0


def test_masks_and_label_maps_and_counts_agree():
    rng = np.random.default_rng(0)
    labels = LabelSet.from_names([f"s{c}" for c in range(11)])
    maps = [LabelMap(rng.integers(0, 10, GRID.shape).astype(np.uint8), labels, GRID) for _ in "ab"]
    packed = [pack(np.stack([each.mask(name) for name in labels.names])) for each in maps]
    kept = [Segmentation.from_packed(each, labels, GRID) for each in packed]
    of_maps, of_masks = (
        list(score_pairs(zip(labels.names, *map(boxed_masks, pair), strict=True), GRID, Scoring()))
        for pair in (maps, kept)
    )
    assert of_maps == of_masks
    counter = OverlapCounter(len(labels))
    counter.add(*packed)
    for score, counted in zip(of_masks, counter.scores(labels, range(11), 0.002), strict=True):
        assert (score.dice, score.value("iou")) == (counted.dice, counted.value("iou"))
        assert score.reference_ml == pytest.approx(counted.reference_ml)
    assert [score.outcome for score in of_masks][-2:] == ["absent", "absent"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.floats(0.3, 2)] * 3))
def test_surface_dice_at_1_mm_against_deepmind(seed, spacing):
    predicted, reference = np.random.default_rng(seed).random((2, 6, 7, 5)) < 0.3
    assume(predicted.any() and reference.any())
    grid = SourceGrid(predicted.shape, np.diag([*spacing, 1.0]))
    pair = ("liver", BoxedMask.of(predicted), BoxedMask.of(reference))
    (found,) = score_pairs([pair], grid, Scoring(tolerance_mm=99.0, also=("surface_dice_1mm",)))
    distances = surface_metrics.compute_surface_distances(reference, predicted, spacing)
    expected = surface_metrics.compute_surface_dice_at_tolerance(distances, 1.0)
    assert found.value("surface_dice_1mm") == pytest.approx(expected)
    assert found.value("surface_dice") == 1


def test_a_metric_is_computed_only_where_it_is_asked_for_and_surfaces_are_measured():
    assert "surface_dice_1mm" not in scored(FULL, FULL).values
    also = {"also": ("surface_dice_1mm",)}
    assert scored(FULL, FULL, **also).value("surface_dice_1mm") == 1
    assert scored(EMPTY, FULL, **also).value("surface_dice_1mm") == 0
    assert scored(FULL, EMPTY, **also, empties=EMPTIES["tomoseg"]).value("surface_dice_1mm") is None
    assert "surface_dice_1mm" not in scored(FULL, FULL, **also, surfaces=False).values
