"""Optimisers as configured, and learning rates against PyTorch's own schedule."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tomoseg.config import TRAIN_PRESETS, OptimizerConfig, ScheduleConfig
from tomoseg.training.optimisation import LearningRate, build_optimizer, set_learning_rate


def parameters():
    return [nn.Parameter(torch.zeros(2))]


def test_guide_preset():
    guide = TRAIN_PRESETS["guide"]
    optimizer = build_optimizer(parameters(), guide.optimizer)
    assert type(optimizer) is torch.optim.Adam
    expected = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-5}
    assert {key: optimizer.defaults[key] for key in expected} == expected
    assert (guide.schedule.kind, guide.schedule.factor, guide.schedule.patience) == ("plateau", 0.5, 3)


@pytest.mark.parametrize(("kind", "expected"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_and_adamw(kind, expected):
    config = OptimizerConfig(kind=kind, learning_rate=0.3, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.2)
    optimizer = build_optimizer(parameters(), config)
    assert type(optimizer) is expected
    found = {key: optimizer.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")}
    assert found == {"lr": 0.3, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.2}


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_sgd(momentum):
    config = OptimizerConfig(kind="sgd", learning_rate=0.3, momentum=momentum, weight_decay=0.2)
    optimizer = build_optimizer(parameters(), config)
    assert type(optimizer) is torch.optim.SGD
    found = {key: optimizer.defaults[key] for key in ("lr", "momentum", "nesterov", "weight_decay")}
    assert found == {"lr": 0.3, "momentum": momentum, "nesterov": momentum > 0, "weight_decay": 0.2}


@pytest.mark.parametrize("seed", range(5))
def test_plateau_is_that_of_pytorch(seed):
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    oracle = ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=3, threshold=1e-4, threshold_mode="abs", eps=0
    )
    rate = LearningRate(ScheduleConfig(kind="plateau"))
    for dice in np.concatenate(
        [rng.uniform(0, 1, 40), 1 + rng.uniform(-1e-4, 3e-4, 40).cumsum() * (rng.random(40) < 0.5)]
    ):
        oracle.step(float(dice))
        rate.validated(float(dice))
        assert rate.share(0.5) == optimizer.param_groups[0]["lr"]
    assert rate.share(0.5) < 0.1


def test_plateau_by_hand():
    rate = LearningRate(ScheduleConfig(kind="plateau", factor=0.5, patience=3))
    shares = []
    for dice in (0.5, 0.4, 0.5, 0.5, 0.3, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6):
        rate.validated(dice)
        shares.append(rate.share(0.0))
    assert shares == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_plateau_goes_on_from_its_state():
    one, other = (LearningRate(ScheduleConfig(kind="plateau", patience=1)) for _ in range(2))
    for dice in (0.5, 0.4, 0.4, 0.3):
        one.validated(dice)
    other.restore(one.state())
    for dice in (0.4, 0.6, 0.1, 0.1):
        one.validated(dice)
        other.validated(dice)
        assert other.share(0) == one.share(0)
    assert one.share(0) == 0.125


def test_cosine_by_hand():
    rate = LearningRate(ScheduleConfig(kind="cosine", warmup_share=0.2))
    assert rate.share(0.0) == 1e-3
    assert rate.share(0.1) == pytest.approx(0.5)
    assert rate.share(0.2) == pytest.approx(1.0)
    assert rate.share(0.6) == pytest.approx(0.5)
    assert rate.share(0.4) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert rate.share(1.0) == pytest.approx(0.0)
    assert LearningRate(ScheduleConfig(kind="cosine", warmup_share=0)).share(0.0) == 1.0


def test_polynomial_by_hand():
    rate = LearningRate(ScheduleConfig(kind="polynomial", warmup_share=0.1, power=2))
    shares = [rate.share(progress) for progress in (0.05, 0.1, 0.55, 1.0)]
    assert shares == pytest.approx([0.5, 1, 0.25, 0])


def test_cosine_and_constant_do_not_look_at_validation():
    for kind, share in (("cosine", 0.5), ("constant", 1.0)):
        rate = LearningRate(ScheduleConfig(kind=kind, warmup_share=0))
        for _ in range(20):
            rate.validated(0.1)
        assert rate.share(0.5) == pytest.approx(share)


def test_set_learning_rate_of_every_group():
    optimizer = torch.optim.SGD([{"params": parameters()}, {"params": parameters(), "lr": 5.0}], lr=1.0)
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
