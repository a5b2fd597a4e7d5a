"""The Dice that may be expected, and means of several models."""

import numpy as np
import pytest
import torch

from tests.inference.test_predictor import GRIDS, LABELS, make_model
from tests.training.tiny import make_scan
from tomoseg.errors import ConfigError
from tomoseg.inference.expected import ExpectedDice
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.smoothing import smoothed
from tomoseg.labels import LabelSet, Structure
from tomoseg.options import Decisions
from tomoseg.volume import Volume


def scan():
    return Volume.from_array(np.asfortranarray(make_scan(2)[0]), np.eye(4))


def test_by_hand():
    expected = ExpectedDice(("a", "b"), np.zeros(2, np.float32))
    for a, b in (([0.9, 0.6], [0.1, 0.2]), ([0.2, 0.4], [0.3, 0.0001])):
        expected.add(torch.logit(torch.tensor([[a], [b]])))
    # 0.9 and 0.6 are inside: 2 * 1.5 of 2.1 + 2
    assert expected.structures() == {"a": pytest.approx(3 / 4.1), "b": None}
    assert expected.mean() == pytest.approx(3 / 4.1)
    assert ExpectedDice(("a",), np.zeros(1, np.float32)).mean() is None


def test_probabilities_do_not_depend_on_the_threshold():
    # decided at 0.8: logits come with that of 0.8 subtracted
    offset = np.log(0.8 / 0.2).astype(np.float32)
    expected = ExpectedDice(("a",), offset[None])
    expected.add(torch.logit(torch.tensor([[[0.9, 0.7]]])) - offset)
    assert expected.structures()["a"] == pytest.approx(2 * 0.9 / (1.6 + 1))


def test_of_several_models_it_is_how_they_agree():
    expected = ExpectedDice(("a",), np.zeros(1, np.float32))
    one, two = torch.tensor([[[1.0, 2.0, -1.0, -1.0]]]), torch.tensor([[[1.0, -1.0, -2.0, 3.0]]])
    for members in ((one, two), (two, two)):
        expected.add((members[0] + members[1]) / 2, members)
    # the mean is above 0 in voxels 0, 1, 3 of the first slice; of its two members each has two of these three. In the
    # second all have 0 and 3. Each member shares 2 + 2 voxels of its 4 with the mean's 5.
    assert expected.structures()["a"] == pytest.approx(2 * 4 / (4 + 5))


def test_what_one_model_finds_and_their_mean_does_not_is_not_left_out():
    expected = ExpectedDice(("lost", "absent"), np.zeros(2, np.float32))
    one, two = torch.tensor([[[1.0]], [[-1.0]]]), torch.tensor([[[-3.0]], [[-1.0]]])
    expected.add((one + two) / 2, (one, two))
    assert expected.structures() == {"lost": 0.5, "absent": None}  # 0 for the one, 1 for the other, which agrees


def test_what_probabilities_promise_is_what_scores_say():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(1, 200, 200, generator=generator) ** 3
    truth = torch.rand(1, 200, 200, generator=generator) < probability
    mask = probability > 0.5
    dice = 2 * (truth & mask).sum() / (truth.sum() + mask.sum())
    expected = ExpectedDice(("a",), np.zeros(1, np.float32))
    expected.add(torch.logit(probability, eps=1e-6))
    assert expected.mean() == pytest.approx(dice.item(), abs=0.02)


@pytest.mark.parametrize("ml", [True, False])
def test_a_predictor_fills_it_and_its_result_stays(ml):
    predictor = Predictor(make_model(GRIDS["native"]), engine="torch", device="cpu", precision="fp32")
    expected = predictor.expected_dice()
    if ml:
        found = predictor.predict_label_map(scan(), expected=expected)
        assert np.array_equal(found.values, predictor.predict_label_map(scan()).values)
    else:
        predictor.predict_volume(scan(), expected=expected)
    logits = torch.stack(predictor.engine.logits(scan().hu), dim=-1)
    p, m = torch.sigmoid(logits), logits > 0
    by_hand = 2 * (p * m).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + m.sum((1, 2, 3)))
    assert list(expected.structures().values()) == pytest.approx(by_hand.tolist(), abs=1e-4)


def test_what_is_expected_is_of_smoothed_masks():
    predictor = Predictor(
        make_model(GRIDS["native"]), engine="torch", device="cpu", precision="fp32", decisions=Decisions(smoothing=1.0)
    )
    expected, by_hand = predictor.expected_dice(), predictor.expected_dice()
    predictor.predict_label_map(scan(), expected=expected)
    for logits in smoothed(predictor.engine.logits(scan().hu), 1.0):
        by_hand.add(logits)
    assert list(expected.structures().values()) == pytest.approx(list(by_hand.structures().values()), abs=1e-4)


def test_several_models_are_averaged():
    models = [make_model(GRIDS["native"], seed=seed) for seed in (0, 1, 2)]
    together = Predictor(models, engine="torch", device="cpu", precision="fp32")
    each = [Predictor(m, engine="torch", device="cpu", precision="fp32") for m in models]
    mean = sum(torch.stack(p.engine.logits(scan().hu), dim=-1) for p in each) / 3
    found = together.predict_volume(scan())
    for channel, name in enumerate(LABELS.names):
        sure = (mean[channel].abs() > 1e-3).numpy()
        assert np.array_equal(found.mask(name)[sure], (mean[channel] > 0).numpy()[sure])
    assert not np.array_equal(found.mask("s0"), each[0].predict_volume(scan()).mask("s0"))


def test_a_model_three_times_is_that_model():
    model = make_model(GRIDS["spacing"])
    decisions = Decisions(thresholds={"s3": 0.7})
    once, thrice = (
        Predictor(m, engine="torch", device="cpu", precision="fp32", decisions=decisions) for m in (model, [model] * 3)
    )
    one, three = once.predict_label_map(scan()).values, thrice.predict_label_map(scan()).values
    assert (one != three).mean() < 1e-3  # a third and a third and a third is one but for rounding


def test_models_that_do_not_fit_together_are_refused():
    model = make_model(GRIDS["native"])
    others = LabelSet(tuple(Structure(c + 1, f"t{c}") for c in range(11)))
    with pytest.raises(ConfigError, match=r"same structures, got another structures in model 2; average models of one"):
        Predictor([model, make_model(GRIDS["native"], others)])
    with pytest.raises(ConfigError, match=r"same grid, got another grid in model 3; average models"):
        Predictor([model, model, make_model(GRIDS["spacing"])])
