"""A model's own rating, and means of several models."""

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.test_predictor import GRIDS, LABELS, make_model
from tests.training.tiny import make_scan
from tomoseg.checks.in_distribution import ScanRange
from tomoseg.errors import ConfigError
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.logits import LogitSource
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import segment
from tomoseg.inference.self_rating import RatingSums, SelfRating
from tomoseg.inference.smoothing import smoothed
from tomoseg.labels import LabelSet, Structure
from tomoseg.models.folder import Model
from tomoseg.notices import Notice
from tomoseg.options import Compute, Request
from tomoseg.volume import Volume

TORCH = Compute(engine="torch", device="cpu", precision="fp32")


def logit(probabilities):
    values = np.array(probabilities)
    return np.log(values / (1 - values)).astype(np.float32)


def logits_of(model):
    return LogitSource(choose_engine(model, "torch", "cpu", "fp32")).slices(scan().hu)


def scan():
    return Volume.from_array(np.asfortranarray(make_scan(2)[0]), np.eye(4))


def test_by_hand():
    sums = RatingSums(("a", "b"), np.zeros(2, np.float32))
    for a, b in (([0.9, 0.6], [0.1, 0.2]), ([0.2, 0.4], [0.3, 0.0001])):
        sums.add(logit([[a], [b]]))
    # 0.9 and 0.6 are inside: 2 * 1.5 of 2.1 + 2
    assert sums.rating().structures == {"a": pytest.approx(3 / 4.1), "b": None}
    assert sums.rating().mean == pytest.approx(3 / 4.1)
    assert RatingSums(("a",), np.zeros(1, np.float32)).rating().mean is None


def test_saturated_logits_are_nearly_sure():
    sums = RatingSums(("a",), np.zeros(1, np.float32))
    sums.add(np.array([[[200.0, -200.0]]], np.float32))  # of which exp has no number
    assert sums.rating().structures["a"] == pytest.approx(1.0)


def test_probabilities_do_not_depend_on_the_threshold():
    # decided at 0.8: logits come with that of 0.8 subtracted
    offset = np.log(0.8 / 0.2).astype(np.float32)
    sums = RatingSums(("a",), offset[None])
    sums.add(logit([[[0.9, 0.7]]]) - offset)
    assert sums.rating().structures["a"] == pytest.approx(2 * 0.9 / (1.6 + 1))


def test_of_several_models_it_is_how_they_agree():
    sums = RatingSums(("a",), np.zeros(1, np.float32))
    one = np.array([[[1.0, 2.0, -1.0, -1.0]]], np.float32)
    two = np.array([[[1.0, -1.0, -2.0, 3.0]]], np.float32)
    for members in ((one, two), (two, two)):
        sums.add((members[0] + members[1]) / 2, members)
    # the mean is above 0 in voxels 0, 1, 3 of the first slice; of its two members each has two of these three. In the
    # second all have 0 and 3. Each member shares 2 + 2 voxels of its 4 with the mean's 5.
    assert sums.rating().structures["a"] == pytest.approx(2 * 4 / (4 + 5))


def test_what_one_model_finds_and_their_mean_does_not_is_not_left_out():
    sums = RatingSums(("lost", "absent"), np.zeros(2, np.float32))
    one, two = (np.array(values, np.float32)[:, None, None] for values in ([1.0, -1.0], [-3.0, -1.0]))
    sums.add((one + two) / 2, (one, two))
    assert sums.rating().structures == {"lost": 0.5, "absent": None}  # 0 for the one, 1 for the other, which agrees


def test_what_probabilities_promise_is_what_scores_say():
    rng = np.random.default_rng(0)
    probability = rng.random((1, 200, 200)) ** 3
    truth = rng.random((1, 200, 200)) < probability
    mask = probability > 0.5
    dice = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
    sums = RatingSums(("a",), np.zeros(1, np.float32))
    sums.add(logit(probability.clip(1e-6, 1 - 1e-6)))
    assert sums.rating().mean == pytest.approx(dice, abs=0.02)


@pytest.mark.parametrize("ml", [True, False])
def test_segment_gives_it_and_the_result_stays(ml):
    model = make_model(GRIDS["native"])
    found = segment(scan(), model, Request(ml=ml, triage=True), compute=TORCH)
    without = segment(scan(), model, Request(ml=ml), compute=TORCH)
    assert without.self_rating is None
    assert all(np.array_equal(found.mask(name), without.mask(name)) for name in LABELS.names)
    logits = np.stack(logits_of(model), axis=-1).astype(np.float64)
    p, m = 1 / (1 + np.exp(-logits)), logits > 0
    by_hand = 2 * (p * m).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + m.sum((1, 2, 3)))
    assert list(found.self_rating.structures) == list(LABELS.names)
    assert list(found.self_rating.structures.values()) == pytest.approx(by_hand.tolist(), abs=1e-4)
    assert found.self_rating.mean == pytest.approx(by_hand.mean(), abs=1e-4)


def test_a_scan_unlike_the_training_scans_has_none():
    model = make_model(GRIDS["native"])
    tissue = ((-2000.0, 2000.0),) * 3
    ratings = {}
    for name, times in (("like", 1.0), ("unlike", 9.0)):
        extents = tuple((times * n, times * n) for n in scan().shape)
        known = ScanRange(((1.0, 1.0),) * 3, extents, tissue)
        record = replace(model.record, trained_on=known, grid=GRIDS["spacing"])
        there = Model(record, model.network)
        ratings[name] = segment(scan(), there, Request(triage=True), compute=TORCH).self_rating
    assert ratings["like"].mean > 0
    assert ratings["like"].reason is None
    assert ratings["unlike"] == SelfRating(
        None, dict.fromkeys(LABELS.names), ratings["like"].found, "unlike the training scans"
    )


def test_a_scan_of_another_part_of_the_body_has_none():
    noticed = (Notice("The scan seems to show pelvis.", "other body part"),)
    rating = segment(scan(), make_model(GRIDS["native"]), Request(triage=True), compute=TORCH, notices=noticed)
    assert (rating.self_rating.mean, rating.self_rating.reason) == (None, "unlike the training scans")


def test_the_rating_is_of_smoothed_masks():
    model = make_model(GRIDS["native"])
    found = segment(scan(), model, Request(ml=True, triage=True, smoothing=1.0), compute=TORCH).self_rating
    by_hand = RatingSums(LABELS.names, np.zeros(len(LABELS), np.float32))
    for logits in smoothed(logits_of(model), 1.0):
        by_hand.add(logits)
    assert list(found.structures.values()) == pytest.approx(list(by_hand.rating().structures.values()), abs=1e-4)
    plain = segment(scan(), model, Request(triage=True), compute=TORCH).self_rating
    assert max(abs(found.structures[name] - plain.structures[name]) for name in LABELS.names) > 3e-3


def test_several_models_are_averaged():
    models = [make_model(GRIDS["native"], seed=seed) for seed in (0, 1, 2)]
    mean = sum(np.stack(logits_of(model), axis=-1) for model in models) / 3
    found = segment(scan(), models, compute=TORCH)
    for channel, name in enumerate(LABELS.names):
        sure = abs(mean[channel]) > 1e-3
        assert np.array_equal(found.mask(name)[sure], (mean[channel] > 0)[sure])
    assert not np.array_equal(found.mask("s0"), segment(scan(), models[0], compute=TORCH).mask("s0"))


def test_a_model_three_times_is_that_model():
    model = make_model(GRIDS["spacing"])
    request = Request(ml=True, threshold=("s3=0.7",))
    one, three = (segment(scan(), m, request, compute=TORCH).result.values for m in (model, [model] * 3))
    assert (one != three).mean() < 1e-3  # a third and a third and a third is one but for rounding


def test_models_that_do_not_fit_together_are_refused():
    model = make_model(GRIDS["native"])
    others = LabelSet(tuple(Structure(c + 1, f"t{c}") for c in range(11)))
    with pytest.raises(ConfigError, match=r"same structures, got a difference in model 2; average models of the same"):
        Predictor([model, make_model(GRIDS["native"], others)])
    with pytest.raises(ConfigError, match=r"same grid, got a difference in model 3; average models"):
        Predictor([model, model, make_model(GRIDS["spacing"])])
