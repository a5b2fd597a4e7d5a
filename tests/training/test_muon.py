"""Muon against singular value decomposition, PyTorch's own Muon and AdamW."""

import copy

import pytest
import torch
from torch import nn

from tomoseg.config import OptimizerConfig
from tomoseg.training.muon import COEFFICIENTS, ITERATIONS, SCALE, Muon, is_kernel, orthogonalised

CONFIG = OptimizerConfig(kind="muon", learning_rate=0.01, momentum=0.8, weight_decay=0.1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 2, 1))


def train(model, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 9, 9, generator=generator)).square().mean().backward()
        optimizer.step()


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("shape", [(6, 6), (3, 20), (20, 3), (1, 9)])
def test_singular_values_go_through_the_polynomial_and_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonalised(matrix), left @ torch.diag(values) @ right)
    assert 0.4 < values.min() <= values.max() < 1.3


def test_no_gradient_at_all_is_no_direction():
    assert orthogonalised(torch.zeros(3, 4)).tolist() == [[0.0] * 4] * 3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 3, 3, 3), True), ((8, 3, 1, 3), True), ((8, 3, 3, 3, 3), True), ((8, 3, 1, 1), False), ((8, 3), False)],
)
def test_kernels_see_more_than_one_voxel(shape, expected):
    assert is_kernel(torch.zeros(shape)) is expected


def test_a_kernel_steps_as_with_the_muon_of_pytorch():
    torch.manual_seed(0)
    ours, gradients = nn.Parameter(torch.randn(8, 3, 3, 3)), torch.randn(4, 8, 3, 3, 3)
    theirs = nn.Parameter(ours.detach().flatten(1).clone())
    optimizer = Muon([ours, nn.Parameter(torch.zeros(1))], CONFIG)
    oracle = torch.optim.Muon(
        [theirs],
        lr=0.01 * SCALE / 0.2,
        weight_decay=0.1 * 0.2 / SCALE,
        momentum=0.8,
        ns_coefficients=COEFFICIENTS,
        ns_steps=ITERATIONS,
        adjust_lr_fn="match_rms_adamw",
    )
    before = theirs.detach().clone()
    for gradient in gradients:
        ours.grad, theirs.grad = gradient, gradient.flatten(1)
        optimizer.step()
        oracle.step()
    moved = (theirs - before).norm()
    assert (ours.flatten(1) - theirs).norm() < 0.02 * moved  # PyTorch iterates in 16 bits
    assert moved > 0.1


def test_what_is_no_kernel_steps_as_with_adamw():
    model = network()
    twin = copy.deepcopy(model)
    optimizer = Muon(model.parameters(), CONFIG)
    oracle = torch.optim.AdamW([p for p in twin.parameters() if not is_kernel(p)], lr=0.01, weight_decay=0.1)
    pairs = [(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True) if not is_kernel(p)]
    assert len(pairs) == 6
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for p, q in pairs:
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad.clone()
        optimizer.step()
        oracle.step()
    for p, q in pairs:
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


def test_the_rate_of_its_groups_is_that_of_both_parts():
    model = network()
    optimizer = Muon(model.parameters(), CONFIG)
    before = weights(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_a_resumed_optimiser_goes_on_bit_for_bit():
    whole, first = network(), network()
    optimizer = Muon(whole.parameters(), CONFIG)
    train(whole, optimizer, 3)
    train(whole, optimizer, 2, seed=1)
    optimizer = Muon(first.parameters(), CONFIG)
    train(first, optimizer, 3)
    second = copy.deepcopy(first)
    resumed = Muon(second.parameters(), CONFIG)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(second, resumed, 2, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))


def test_a_state_of_another_optimiser_is_refused():
    state = torch.optim.AdamW(network().parameters()).state_dict()
    with pytest.raises(ValueError, match="param"):
        Muon(network().parameters(), CONFIG).load_state_dict(state)


def test_parameters_without_a_gradient_stay():
    model = network()
    optimizer = Muon(model.parameters(), CONFIG)
    before = weights(model)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))
