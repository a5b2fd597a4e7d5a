"""The boundary loss against numbers by hand and against distances to every voxel."""

import itertools
import math

import numpy as np
import pytest
import torch

from tomoseg.config import LossConfig
from tomoseg.training.boundary import boundary_loss, signed_distance

ONE = LossConfig(kind="boundary", boundary_weight=1)


def case(seed=0, n=2, c=3, size=(7, 6)):
    """Logits, masks and known structures; structure 1 is absent from sample 0, structure 2 unknown in sample 1."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, c, *size, generator=generator, dtype=torch.float64)
    masks = torch.rand(n, c, *size, generator=generator) < 0.3
    masks[0, 1] = False
    annotated = torch.ones(n, c, dtype=torch.bool)
    annotated[1, 2] = False
    return logits, masks, annotated


def plainly(logits, masks, annotated, weights=(1, 1, 1)):
    """The same, voxel by voxel, with the distance to each other voxel."""
    total, voxels = 0.0, 0
    places = list(itertools.product(*(range(length) for length in logits.shape[2:])))
    for sample, structure in itertools.product(range(logits.shape[0]), range(logits.shape[1])):
        if not annotated[sample, structure]:
            continue
        voxels += len(places)
        inside = [place for place in places if masks[(sample, structure, *place)]]
        outside = [place for place in places if not masks[(sample, structure, *place)]]
        if not inside or not outside:
            continue
        for place in places:
            others = outside if place in inside else inside
            nearest = min(math.dist(place, other) for other in others)
            signed = 1 - nearest if place in inside else nearest
            total += weights[structure] * signed / (1 + math.exp(-logits[(sample, structure, *place)]))
    return total / voxels


def test_by_hand():
    # Distances 1, 0, -1, 0, 1, 2 and probabilities 1/2 and, of the last, 3/4: (1 - 1 + 1) / 2 + 2 * 3/4 is 2.
    masks = torch.tensor([False, True, True, True, False, False])[None, None, :, None]
    logits = torch.tensor([0, 0, 0, 0, 0, math.log(3)], dtype=torch.float64)[None, None, :, None]
    annotated = torch.tensor([[True]])
    assert boundary_loss(logits, masks, annotated, ONE).item() == pytest.approx(2 / 6)
    assert boundary_loss(logits, masks, annotated, LossConfig(kind="boundary")).item() == pytest.approx(0.01 * 2 / 6)


@pytest.mark.parametrize("size", [(7, 6), (4, 3, 5)], ids=["2d", "3d"])
def test_as_by_the_distances_to_all_voxels(size):
    logits, masks, annotated = case(size=size)
    assert boundary_loss(logits, masks, annotated, ONE).item() == pytest.approx(
        plainly(logits, masks, annotated), rel=1e-6
    )
    weights = torch.tensor([0.5, 0.0, 2.5], dtype=torch.float64)
    found = boundary_loss(logits, masks, annotated, ONE, None, weights).item()
    assert found == pytest.approx(plainly(logits, masks, annotated, weights.tolist()), rel=1e-6)


def test_probability_falls_outside_and_rises_inside_and_nothing_is_learned_of_what_is_unknown_or_absent():
    logits, masks, annotated = case()
    logits.requires_grad_()
    boundary_loss(logits, masks, annotated, ONE).backward()
    assert not logits.grad[1, 2].any()
    assert not logits.grad[0, 1].any()
    assert (logits.grad[0, 0][~masks[0, 0]] > 0).all()
    assert (logits.grad[0, 0][masks[0, 0]] <= 0).all()


@pytest.mark.parametrize("filled", [True, False])
def test_without_a_boundary_there_is_no_loss(filled):
    logits, masks, annotated = case()
    logits.requires_grad_()
    loss = boundary_loss(logits, torch.full_like(masks, filled), annotated, ONE)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
    assert not signed_distance(np.full((3, 4), filled)).any()


def test_nothing_known_is_no_loss():
    logits, masks, annotated = case()
    assert boundary_loss(logits, masks, torch.zeros_like(annotated), ONE).item() == 0
