"""The Lovász hinge against numbers by hand and against its definition as an integral over sets of errors."""

import itertools

import pytest
import torch

from tomoseg.config import LossConfig
from tomoseg.training.lovasz import lovasz_hinge

CONFIG = LossConfig(kind="lovasz")


def case(seed=0, n=2, c=4, size=(5, 6)):
    """Logits, masks and known structures; 1 is known and absent, 2 unknown in sample 1, 3 unknown in both."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, c, *size, generator=generator, dtype=torch.float64)
    masks = torch.rand(n, c, *size, generator=generator) < 0.3
    masks[:, 1] = False
    annotated = torch.ones(n, c, dtype=torch.bool)
    annotated[1, 2], annotated[:, 3] = False, False
    return logits, masks, annotated


def of_one(logits, mask):
    """The Choquet integral of the Jaccard loss of the voxels whose error is above a level, over all levels."""
    errors = [max(0.0, 1 - (x if inside else -x)) for x, inside in zip(logits.tolist(), mask.tolist(), strict=True)]
    truth = {place for place, inside in enumerate(mask.tolist()) if inside}
    levels, total = sorted({0.0, *errors}), 0.0
    for low, high in itertools.pairwise(levels):
        wrong = {place for place, error in enumerate(errors) if error > low}
        total += (high - low) * len(wrong) / len(wrong | truth)
    return total


def plainly(logits, masks, annotated, weights=(1, 1, 1, 1)):
    each = {
        c: of_one(logits[annotated[:, c], c].flatten(), masks[annotated[:, c], c].flatten())
        for c in range(logits.shape[1])
        if annotated[:, c].any()
    }
    return sum(weights[c] * loss for c, loss in each.items()) / sum(weights[c] for c in each)


def voxels(logits, inside):
    shape = (1, 1, len(logits), 1)
    annotated = torch.tensor([[True]])
    return torch.tensor(logits, dtype=torch.float64).reshape(shape), torch.tensor(inside).reshape(shape), annotated


def test_by_hand():
    # One voxel, missed by 1/2: its Jaccard loss is 1.
    assert lovasz_hinge(*voxels([0.5], [True]), CONFIG).item() == 0.5
    # Errors 1 1/4 of a voxel too many, which makes Jaccard 1/2, and 1/2 of the one of the mask, which makes it 0.
    assert lovasz_hinge(*voxels([0.5, 0.25], [True, False]), CONFIG).item() == pytest.approx(0.5 * 1.25 + 0.5 * 0.5)
    # Nothing is wrong beyond the margin; of an absent structure the largest error counts.
    assert lovasz_hinge(*voxels([1.0, -1.0], [True, False]), CONFIG).item() == 0
    assert lovasz_hinge(*voxels([0.5, 0.25], [False, False]), CONFIG).item() == 1.5


@pytest.mark.parametrize("size", [(5, 6), (3, 4, 2)], ids=["2d", "3d"])
def test_as_by_its_definition(size):
    logits, masks, annotated = case(size=size)
    assert lovasz_hinge(logits, masks, annotated, CONFIG).item() == pytest.approx(plainly(logits, masks, annotated))
    weights = torch.tensor([0.5, 0.0, 2.5, 1.0], dtype=torch.float64)
    found = lovasz_hinge(logits, masks, annotated, CONFIG, None, weights).item()
    assert found == pytest.approx(plainly(logits, masks, annotated, weights.tolist()))


def test_of_masks_it_is_one_minus_jaccard():
    # Logits of 1 and -1 where a voxel is right leave no error, of 0 and wrong ones of +-0 an error of 1.
    logits, masks, annotated = voxels([1, 0, 0, -1, -1], [True, True, False, False, False])
    assert lovasz_hinge(logits, masks, annotated, CONFIG).item() == pytest.approx(1 - 1 / 3)


def test_what_is_unknown_or_weighs_nothing_is_not_learned():
    logits, masks, annotated = case()
    logits.requires_grad_()
    lovasz_hinge(logits, masks, annotated, CONFIG, None, torch.tensor([0.0, 1.0, 2.0, 1.0])).backward()
    assert not logits.grad[:, 0].any()
    assert not logits.grad[1, 2].any()
    assert not logits.grad[:, 3].any()
    assert (logits.grad[0, 2][~masks[0, 2]] >= 0).all()
    assert (logits.grad[0, 2][masks[0, 2]] <= 0).all()
    assert logits.grad[0, 2].any()


def test_gradients_are_those_of_the_function():
    logits, masks, annotated = case(size=(3, 3))
    assert torch.autograd.gradcheck(lambda x: lovasz_hinge(x, masks, annotated, CONFIG), logits.requires_grad_())


def test_nothing_known_is_no_loss():
    logits, masks, annotated = case()
    assert lovasz_hinge(logits, masks, torch.zeros_like(annotated), CONFIG).item() == 0
