"""The fused loss against the plain one, and the plain one against numbers by hand."""

import math
from pkgutil import resolve_name
from typing import get_args

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tomoseg.config import LossConfig
from tomoseg.loss_kinds import LOSSES, LossKind, LossName
from tomoseg.networks.packed import pack_bits, unpack_bits
from tomoseg.training import losses
from tomoseg.training.losses import LossNormaliser, Targets, fused_loss
from tomoseg.training.plain_loss import plain_loss

BCE, BOTH = LossConfig(kind="bce"), LossConfig(kind="bce_dice", dice_weight=7.0)
DICE, FOCAL = LossConfig(kind="dice"), LossConfig(kind="focal", focal_gamma=1.5)
TVERSKY = LossConfig(kind="tversky", tversky_alpha=0.2, tversky_beta=0.9)
KINDS = {"bce": BCE, "bce_dice": BOTH, "dice": DICE, "focal": FOCAL, "tversky": TVERSKY}
ALL = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
CHUNKS = (1, 7, 100, 1 << 20)


def case(seed=0, n=3, f=5, c=11, size=(6, 7), dtype=torch.float64, with_pos_weight=True, weights=None):
    """Features, head and targets; structure 3 is known nowhere, sample 1 has nothing known."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, f, *size, generator=generator, dtype=torch.float64).to(dtype)
    head = (nn.Conv2d if len(size) == 2 else nn.Conv3d)(f, c, 1, dtype=torch.float64 if dtype.itemsize == 8 else None)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    masks = torch.rand(n, c, *size, generator=generator) < 0.3
    annotated = torch.rand(n, c, generator=generator) < 0.7
    annotated[:, 3], annotated[1] = False, False
    masks[:, 6] = False  # known and absent
    pos_weight = torch.linspace(1, 20, c, dtype=torch.promote_types(dtype, torch.float32))
    return features, head, Targets(pack_bits(masks), annotated, pos_weight if with_pos_weight else None, weights)


def results(loss_of, features, head, times=1.0):
    """Value and gradients by features, weight and bias."""
    features = features.detach().clone().requires_grad_()
    head.zero_grad()
    value = loss_of(features)
    (value * times).backward()
    return value.detach(), features.grad, head.weight.grad, head.bias.grad


def plain(head, targets, config):
    masks = unpack_bits(targets.packed, head.weight.shape[0])
    return lambda features: plain_loss(
        head(features), masks, targets.annotated, config, targets.pos_weight, targets.weights
    )


def fused(head, targets, config, annotated_voxels=None):
    part = targets.annotated_voxels()
    normaliser = LossNormaliser(part, part if annotated_voxels is None else annotated_voxels)
    return lambda features: fused_loss(head, features, targets, config, normaliser)


def largest_difference(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def relative(one, other):
    return float((one.double() - other.double()).norm() / other.double().norm())


@ALL
@pytest.mark.parametrize("size", [(6, 7), (3, 4, 5)], ids=["2d", "3d"])
@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
@pytest.mark.parametrize("with_pos_weight", [True, False])
def test_fused_is_plain_in_float64(config, size, memory, with_pos_weight, monkeypatch):
    features, head, targets = case(size=size, with_pos_weight=with_pos_weight)
    if memory == "channels_last":
        kind = torch.channels_last if len(size) == 2 else torch.channels_last_3d
        features = features.contiguous(memory_format=kind)
    expected = results(plain(head, targets, config), features, head, 3.0)
    for chunk in CHUNKS:
        monkeypatch.setattr(losses, "CHUNK_ELEMENTS", chunk)
        assert largest_difference(results(fused(head, targets, config), features, head, 3.0), expected) < 1e-12


@ALL
def test_fused_is_near_plain_in_float32(config):
    features, head, targets = case(dtype=torch.float32)
    found = results(fused(head, targets, config), features, head)
    assert found[0].dtype == torch.float32
    assert largest_difference(found, results(plain(head, targets, config), features, head)) < 1e-6


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_fused_in_half_precision_is_near_float32(config, dtype):
    features, head, targets = case(dtype=dtype, size=(32, 32))
    found = results(fused(head, targets, config), features, head, 1024.0)
    expected = results(plain(head, targets, config), features.float(), head, 1024.0)
    assert found[0].dtype == torch.float32
    assert found[1].dtype == dtype
    assert found[0].item() == pytest.approx(expected[0].item(), rel=0.01)
    assert all(relative(a, b) < 0.02 for a, b in zip(found[1:], expected[1:], strict=True))


def test_half_precision_does_not_lose_the_gradient_of_many_voxels():
    # A share of 1 / 50 million is below the smallest fp16 number; the scaler's 65536 brings it back if it survives.
    features, head, targets = case(dtype=torch.float16, size=(32, 32))
    voxels = 50_000_000
    found = results(fused(head, targets, BCE, voxels), features, head, 65536.0)
    expected = results(plain(head, targets, BCE), features.float(), head, 65536.0 * targets.annotated_voxels() / voxels)
    assert all(relative(a, b) < 0.02 for a, b in zip(found[1:], expected[1:], strict=True))


@pytest.mark.parametrize("config", [BOTH, FOCAL, TVERSKY], ids=["bce_dice", "focal", "tversky"])
def test_gradcheck(config):
    features, head, targets = case(n=2, f=3, c=9, size=(2, 3))

    class Head(nn.Module):
        def __init__(self, weight, bias):
            super().__init__()
            self.weight, self.bias = weight, bias

    def loss(features, weight, bias):
        return fused_loss(Head(weight, bias), features, targets, config, LossNormaliser.of(targets))

    inputs = [t.detach().clone().requires_grad_() for t in (features, head.weight, head.bias)]
    assert torch.autograd.gradcheck(loss, inputs)


@ALL
def test_unknown_structures_and_samples_give_exactly_no_gradient(config):
    features, head, targets = case()
    _, by_features, by_weight, by_bias = results(fused(head, targets, config), features, head)
    assert not by_weight[3].any()
    assert by_bias[3] == 0
    assert not by_features[1].any()
    taught = targets.annotated.any(dim=0)
    if config in (DICE, TVERSKY):  # of structure 6, which is known and absent, there is no Dice
        taught[6] = False
        assert by_bias[6] == 0
    assert (by_bias[taught] != 0).all()


@ALL
def test_nothing_known_is_no_loss(config):
    features, head, targets = case()
    nothing = Targets(targets.packed, torch.zeros_like(targets.annotated), targets.pos_weight)
    assert nothing.annotated_voxels() == 0
    for loss in (fused(head, nothing, config), plain(head, nothing, config)):
        value, *gradients = results(loss, features, head)
        assert value == 0
        assert not any(g.any() for g in gradients)


def one_voxel(logit, inside):
    logits = torch.full((1, 1, 1, 1), logit, dtype=torch.float64)
    return logits, torch.full((1, 1, 1, 1), inside), torch.tensor([[True]])


def test_one_voxel_by_hand():
    # Cross-entropy of logit 0 is ln 2. Soft Dice of p = 0.5 with 1: (2 * 0.5 + 1) / (0.5 + 1 + 1) = 0.8.
    assert plain_loss(*one_voxel(0.0, True), BCE).item() == pytest.approx(math.log(2))
    assert plain_loss(*one_voxel(math.log(3), False), BCE).item() == pytest.approx(-math.log(1 / 4))
    assert plain_loss(*one_voxel(0.0, True), LossConfig(dice_weight=3)).item() == pytest.approx(math.log(2) + 3 * 0.2)
    # A structure that is not in the batch has no Dice.
    assert plain_loss(*one_voxel(0.0, False), LossConfig(dice_weight=3)).item() == pytest.approx(math.log(2))


def test_dice_and_focal_loss_by_hand():
    assert plain_loss(*one_voxel(0.0, True), DICE).item() == pytest.approx(0.2)
    focal = LossConfig(kind="focal")  # what the probability lacks, squared, times the cross-entropy
    assert plain_loss(*one_voxel(0.0, True), focal).item() == pytest.approx(0.5**2 * math.log(2))
    assert plain_loss(*one_voxel(math.log(3), False), focal).item() == pytest.approx(0.75**2 * math.log(4))
    assert plain_loss(*one_voxel(math.log(3), True), focal).item() == pytest.approx(0.25**2 * math.log(4 / 3))


def test_tversky_by_hand():
    # 0.5 of the mask's voxel is found, 0.75 of another taken for it: (0.5 + 0.5) / (0.5 + 0.2 * 0.75 + 0.9 * 0.5 + 0.5)
    logits = torch.tensor([[[[0.0, math.log(3)]]]], dtype=torch.float64)
    masks, annotated = torch.tensor([[[[True, False]]]]), torch.tensor([[True]])
    assert plain_loss(logits, masks, annotated, TVERSKY).item() == pytest.approx(1 - 1 / 1.6)


def test_tversky_with_halves_is_dice():
    features, head, targets = case()
    halves = LossConfig(kind="tversky", tversky_alpha=0.5, tversky_beta=0.5)
    found = results(fused(head, targets, halves), features, head)
    assert largest_difference(found, results(fused(head, targets, DICE), features, head)) < 1e-12


@ALL
def test_weighted_structures(config):
    weights = torch.linspace(0, 2, 11)
    features, head, targets = case(weights=weights)
    expected = results(plain(head, targets, config), features, head)
    found = results(fused(head, targets, config), features, head)
    assert largest_difference(found, expected) < 1e-12
    assert not found[2][0].any()  # what weighs nothing is not learned
    ones = case(weights=torch.ones(11))[2]
    alike = [results(fused(head, t, config), features, head) for t in (ones, case()[2])]
    assert largest_difference(*alike) < 1e-12


def test_weights_by_hand():
    # cross-entropies ln 2 and ln 4 of two structures that weigh 0.5 and 1.5; Dice 0.8 and (0.75 + 1) / (0.75 + 2) ...
    logits = torch.tensor([[[[0.0]], [[math.log(3)]]]], dtype=torch.float64)
    masks, annotated = torch.tensor([[[[True]], [[False]]]]), torch.tensor([[True, True]])
    weights = torch.tensor([0.5, 1.5], dtype=torch.float64)
    entropy = (0.5 * math.log(2) + 1.5 * math.log(4)) / 2
    assert plain_loss(logits, masks, annotated, BCE, None, weights).item() == pytest.approx(entropy)
    # the second structure is absent: the mean of Dice over those that occur is the first's
    assert plain_loss(logits, masks, annotated, DICE, None, weights).item() == pytest.approx(0.2)
    present = torch.tensor([[[[True]], [[True]]]])
    dice = (0.5 * 0.8 + 1.5 * 2.5 / 2.75) / 2
    assert plain_loss(logits, present, annotated, DICE, None, weights).item() == pytest.approx(1 - dice)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_coarser_targets_are_the_masks_at_the_middles(factor):
    masks = torch.rand(2, 11, 8, 4, 8, generator=torch.Generator().manual_seed(0)) < 0.4
    targets = Targets(pack_bits(masks), torch.ones(2, 11, dtype=torch.bool)).coarser(factor)
    at = torch.arange(factor // 2, 8, factor)
    expected = masks[:, :, at][:, :, :, at[at < 4]][..., at]
    assert torch.equal(unpack_bits(targets.packed, 11), expected)
    assert LossNormaliser.of(targets).batch_voxels == 2 * 11 * 256 // factor**3


def test_focal_loss_without_its_power_is_cross_entropy():
    features, head, targets = case()
    found = results(fused(head, targets, LossConfig(kind="focal", focal_gamma=0)), features, head)
    assert largest_difference(found, results(fused(head, targets, BCE), features, head)) < 1e-12


def test_emphasis_by_hand():
    ten = torch.tensor([10.0], dtype=torch.float64)
    assert plain_loss(*one_voxel(0.0, True), BCE, ten).item() == pytest.approx(10 * math.log(2))
    assert plain_loss(*one_voxel(0.0, False), BCE, ten).item() == pytest.approx(math.log(2))


def test_means_by_hand():
    # Sample 1 knows structure 0 only. Known logits 0 (ln 2) and ln 3 (p = 3/4): -ln 3/4 inside, -ln 1/4 outside.
    logits = torch.tensor([[0.0, math.log(3)], [math.log(3), 50.0]], dtype=torch.float64)[:, :, None, None]
    masks = torch.tensor([[True, True], [False, False]])[:, :, None, None]
    annotated = torch.tensor([[True, True], [True, False]])
    entropy = (math.log(2) + math.log(4 / 3) + math.log(4)) / 3
    assert plain_loss(logits, masks, annotated, BCE).item() == pytest.approx(entropy)
    # Dice over the batch: (2 * 0.5 + 1) / (0.5 + 0.75 + 1 + 1) of structure 0, (2 * 0.75 + 1) / (0.75 + 1 + 1) of 1.
    dice = (2 / 3.25 + 2.5 / 2.75) / 2
    # The Dice part is divided by the two structures, as the cross-entropies are.
    assert plain_loss(logits, masks, annotated, LossConfig(dice_weight=5)).item() == pytest.approx(
        entropy + 2.5 * (1 - dice)
    )


def test_accumulated_cross_entropy_is_that_of_the_whole_batch():
    features, head, targets = case(n=4)
    whole = results(fused(head, targets, BCE), features, head)
    parts = [Targets(targets.packed[i : i + 2], targets.annotated[i : i + 2], targets.pos_weight) for i in (0, 2)]
    assert parts[0].annotated_voxels() != parts[1].annotated_voxels()
    found = [
        results(fused(head, part, BCE, targets.annotated_voxels()), features[i : i + 2], head)
        for part, i in zip(parts, (0, 2), strict=True)
    ]
    summed = (
        found[0][0] + found[1][0],
        torch.cat([found[0][1], found[1][1]]),
        *(a + b for a, b in zip(*(f[2:] for f in found), strict=True)),
    )
    assert largest_difference(summed, whole) < 1e-12


def test_accumulated_dice_weighs_by_its_share_of_known_voxels():
    features, head, targets = case()
    alone = results(fused(head, targets, BOTH), features, head)
    half = results(fused(head, targets, BOTH, 2 * targets.annotated_voxels()), features, head)
    assert largest_difference([2 * h for h in half], alone) < 1e-12


def test_under_autocast():
    features, head, targets = case(dtype=torch.float32, size=(16, 16))
    before = nn.Conv2d(5, 5, 1)
    found = {}
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = fused_loss(head, before(features), targets, BOTH, LossNormaliser.of(targets))
        before.zero_grad()
        head.zero_grad()
        value.backward()
        assert value.dtype == torch.float32
        found[enabled] = [p.grad.clone() for p in (*before.parameters(), *head.parameters())]
    assert all(g.dtype == torch.float32 for g in found[True])
    assert all(relative(a, b) < 0.05 for a, b in zip(found[True], found[False], strict=True))


class Products(TorchDispatchMode):
    """Counts products of matrices."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.name().split("::")[1].split(".")[0] in {"addmm", "mm", "bmm", "matmul"}
        return func(*args, **(kwargs or {}))


@ALL
def test_without_gradients_only_the_logits_are_computed_and_the_loss_is_the_same_bit_for_bit(config):
    features, head, targets = case(dtype=torch.float32)
    features.requires_grad_()
    values, products = [], []
    for wanted in (True, False):
        with torch.set_grad_enabled(wanted), Products() as counted:
            values.append(fused_loss(head, features, targets, config, LossNormaliser.of(targets)))
        products.append(counted.count)
    passes = 1 + (config in (BOTH, DICE, TVERSKY))  # Dice needs the whole batch's sums first
    assert products == [passes + 2, passes]
    assert [value.requires_grad for value in values] == [True, False]
    assert values[0].item() == values[1].item()
    frozen = [p.requires_grad_(False) for p in (features.detach(), *head.parameters())]
    with Products() as counted:
        assert not fused_loss(head, frozen[0], targets, config, LossNormaliser.of(targets)).requires_grad
    assert counted.count == passes


def test_every_kind_is_computed_by_terms_or_by_a_function_that_is_there():
    assert get_args(LossName) == tuple(LOSSES)
    for name, kind in LOSSES.items():
        assert kind.terms or kind.plain
        assert kind.plain is None or callable(resolve_name(kind.plain))
        assert f"`{name}`: {kind.summary}" in LossConfig.model_fields["kind"].description


@pytest.mark.parametrize("with_terms", [True, False])
def test_a_plain_function_is_added_to_the_terms(monkeypatch, with_terms):
    features, head, targets = case(weights=torch.linspace(0, 2, 11))
    seen = []

    def other(logits, masks, annotated, config, pos_weight, weights):
        seen.append((logits.dtype, config, pos_weight, weights))
        assert torch.equal(masks, unpack_bits(targets.packed, 11))
        return (logits**2).mean() * annotated.any()

    monkeypatch.setattr(losses, "other", other, raising=False)
    bce = LOSSES["bce"].terms if with_terms else None
    monkeypatch.setitem(LOSSES, "bce", LossKind("another", bce, plain="tomoseg.training.losses:other"))
    normaliser = LossNormaliser(targets.annotated_voxels(), 4 * targets.annotated_voxels())  # a quarter of a step
    found = losses.loss_of(head.float(), features.float(), targets, BCE, normaliser)
    expected = (head(features.float()) ** 2).mean() / 4
    if with_terms:
        expected = expected + fused_loss(head, features.float(), targets, BCE, normaliser)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert seen == [(torch.float32, BCE, targets.pos_weight, targets.weights)]
