"""Adversaries: what they do by hand, that they hurt, and that a network learns against them."""

import math

import pytest
import torch
from torch import nn

from tests.training.test_learner import make_batch
from tests.training.tiny import make_config, make_dataset
from tomoseg.config import (
    AdversarialConfig,
    AugmentationConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    SamplingConfig,
)
from tomoseg.networks.build import build_network
from tomoseg.training import learner
from tomoseg.training.adversary import Discriminator, attack, divergence, frozen_statistics, virtual_attack
from tomoseg.training.learner import Learner
from tomoseg.training.losses import LossNormaliser
from tomoseg.workflows.train import train_run

KINDS = ["fgsm", "vat", "discriminator"]


def make_learner(kind, **settings):
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=(8, 16)), 1, 3)
    config = make_config(adversarial=AdversarialConfig(kind=kind, **settings))
    return Learner(network, config, torch.float32)


def test_an_attack_by_hand():
    images, gradient = torch.tensor([[[[0.0, 0.5, 1.0]]]]), torch.tensor([[[[-3.0, 1e-9, 2.0]]]])
    assert attack(images, gradient, 0.1).flatten().tolist() == pytest.approx([0, 0.6, 1])
    assert torch.equal(attack(images, gradient * torch.nan, 0.1), images)  # half precision ran over


def test_divergence_by_hand():
    one, other = torch.logit(torch.tensor([[0.5]])), torch.logit(torch.tensor([[0.25]]))
    assert divergence(one, other).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75))
    assert divergence(one, one).item() == 0


def test_the_attacked_loss_is_higher_than_the_clean_one_and_than_noise_makes_it():
    images, targets = make_batch()
    learner = make_learner("none").eval()
    normaliser = LossNormaliser.of(targets)
    asked = images.clone().requires_grad_()
    clean = learner(asked, targets, normaliser)
    (gradient,) = torch.autograd.grad(clean, asked)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    attacked, shaken = (learner(attack(images, way, 0.05), targets, normaliser) for way in (gradient, noise))
    assert attacked > clean
    assert attacked > shaken


def test_the_fgsm_loss_is_the_mean_of_clean_and_attacked():
    images, targets = make_batch()
    learner, normaliser = make_learner("fgsm", epsilon=0.05), LossNormaliser.of(targets)
    found = learner.train()(images, targets, normaliser)
    plain = make_learner("none").train()
    plain.network.load_state_dict(learner.network.state_dict())
    asked = images.clone().requires_grad_()
    clean = plain(asked, targets, normaliser)
    (gradient,) = torch.autograd.grad(clean, asked)
    assert found.item() == pytest.approx(
        (clean + plain(attack(images, gradient, 0.05), targets, normaliser)).item() / 2
    )


def test_virtual_attacks_find_a_worse_direction_than_noise():
    torch.manual_seed(0)
    weights = torch.tensor([5.0, 0.1, 0.0, 0.0]).view(1, 1, 4, 1)

    def logits_of(images):
        return (images * weights).sum(2, keepdim=True)

    images = torch.rand(1, 1, 4, 1)
    worst = virtual_attack(logits_of, images, 0.1).item()
    # all of the change along the first voxel: 5 * 0.1 * sqrt(4)
    straight = images.clone()
    straight[0, 0, 0] += 0.2
    back = images.clone()
    back[0, 0, 0] -= 0.2
    most = max(divergence(logits_of(images), logits_of(other)).item() for other in (straight, back))
    assert worst == pytest.approx(most, rel=0.5)
    random = images + 0.1 * torch.tensor([0.5, 1.0, -1.0, 1.3]).view(1, 1, 4, 1)
    assert worst > divergence(logits_of(images), logits_of(random)).item()


def test_the_worst_direction_is_found_in_half_precision_too():
    torch.manual_seed(0)
    images = torch.rand(4, 1, 128, 128)
    found = []
    for dtype in (torch.float32, torch.float16):
        torch.manual_seed(1)  # the same noise to begin with
        found.append(virtual_attack(lambda images, t=dtype: 3 * images.to(t) - 1, images, 0.1).item())
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_the_sign_of_the_loss_is_found_in_half_precision_too(monkeypatch):
    torch.manual_seed(0)
    asked = []
    monkeypatch.setattr(learner, "attack", lambda images, gradient, epsilon: asked.append(gradient) or images)
    network = build_network(NetworkConfig(channels=(8, 16)), 1, 3).train()
    images, targets = make_batch()
    for dtype in (torch.float32, torch.float16):
        config = make_config(adversarial=AdversarialConfig(kind="fgsm"), loss=LossConfig(kind="bce"))
        Learner(network, config, dtype).train()(images, targets, LossNormaliser(10**9, 10**9))  # as of a large step
    exact, half = (gradient.sign() for gradient in asked)
    assert exact.abs().mean() > 0.9
    assert (half == exact).float().mean() > 0.9


def test_a_network_that_does_not_look_cannot_be_attacked():
    assert virtual_attack(lambda images: images * 0 + 3, torch.rand(2, 1, 4, 4), 0.1).item() == 0


def test_batch_statistics_are_frozen_in_the_block_only():
    layer = nn.BatchNorm2d(2).train()
    before = layer.running_mean.clone()
    with frozen_statistics(layer):
        layer(torch.randn(3, 2, 4, 4) + 5)
    assert torch.equal(layer.running_mean, before)
    assert layer.momentum == 0.1
    layer(torch.randn(3, 2, 4, 4) + 5)
    assert not torch.equal(layer.running_mean, before)


def test_the_discriminator_learns_and_the_network_learns_against_it():
    torch.manual_seed(0)
    discriminator = Discriminator(1 + 2, 2, width=4)
    images = torch.rand(4, 1, 16, 16)
    reference, annotated = (torch.rand(4, 2, 16, 16) < 0.5).float(), torch.ones(4, 2, dtype=torch.bool)
    predicted = torch.full((4, 2, 16, 16), 0.5, requires_grad=True)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = discriminator.loss(images, predicted, reference, annotated)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(2), abs=0.05)  # it knows nothing yet
    assert losses[-1] < 0.5
    # a step along the network's descent makes the discriminator's loss higher
    predicted.grad = None
    now = discriminator.loss(images, predicted, reference, annotated)
    now.backward()
    moved = predicted.detach() - 0.05 * predicted.grad / predicted.grad.abs().max()
    assert discriminator.loss(images, moved, reference, annotated) > now


def test_unknown_structures_are_hidden_from_the_discriminator():
    torch.manual_seed(0)
    discriminator = Discriminator(1 + 2, 2, width=4)
    images, reference = torch.rand(1, 1, 16, 16), torch.ones(1, 2, 16, 16)
    annotated = torch.tensor([[True, False]])
    predicted = torch.rand(1, 2, 16, 16, requires_grad=True)
    discriminator.loss(images, predicted, reference, annotated).backward()
    assert predicted.grad[0, 0].any()
    assert not predicted.grad[0, 1].any()


@pytest.mark.parametrize("kind", KINDS)
def test_only_training_knows_of_the_adversary(kind):
    images, targets = make_batch()
    with_one, without = make_learner(kind), make_learner("none")
    assert with_one.eval()(images, targets, LossNormaliser.of(targets)) == without.eval()(
        images, targets, LossNormaliser.of(targets)
    )
    loss = with_one.train()(images, targets, LossNormaliser.of(targets))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in with_one.parameters())


@pytest.mark.parametrize("kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[:2]), KINDS[2]])
def test_it_learns_and_resumes(kind, tmp_path):
    make_dataset(tmp_path / "data")
    settings = {
        "network": NetworkConfig(channels=(8, 16)),
        "adversarial": AdversarialConfig(kind=kind),
        "optimizer": OptimizerConfig(learning_rate=2e-2),
        "sampling": SamplingConfig(slices_per_case=8),
        "augmentation": AugmentationConfig(enabled=False),
        "validate_every": 100,
        "epochs": None,
    }
    assert train_run(tmp_path / "data", tmp_path / "run", make_config(**settings, steps=40)).best_dice is not None
    outcome = train_run(tmp_path / "data", tmp_path / "run", make_config(**settings, steps=80))
    assert outcome.finished
    assert outcome.best_dice > 0.7
