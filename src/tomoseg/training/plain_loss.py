"""Plain implementation of the fused losses, the reference for tests and benchmarks of `fused_loss`."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomoseg.loss_kinds import LossConfig
from tomoseg.training.losses import DICE_SMOOTHING, SMALL


def plain_loss(
    logits: Float[Tensor, "n c *xyz"],
    masks: Bool[Tensor, "n c *xyz"],
    annotated: Bool[Tensor, "n c"],
    config: LossConfig,
    pos_weight: Float[Tensor, "c"] | None = None,
    weights: Float[Tensor, "c"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the terms of `fused_loss` from logits.

    Args:
        logits: The logits of each structure.
        masks: The reference.
        annotated: Whether each structure is annotated in each sample.
        config: The settings of the loss.
        pos_weight: Weight of each structure's foreground voxels in the cross-entropy; None is 1 for all.
        weights: Weight of each structure in the loss, with a mean of 1; None is 1 for all.
    """
    weight = annotated.reshape(*annotated.shape, *[1] * (logits.ndim - 2)).to(logits.dtype).expand_as(logits)
    reference = masks.to(logits.dtype)
    own = None if pos_weight is None else pos_weight.reshape(-1, *[1] * (logits.ndim - 2))
    terms = config.terms(logits.shape[1])
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(
        logits, reference, weight, reduction="none", pos_weight=own
    )
    right = torch.where(masks, logits, -logits).sigmoid()
    counts = torch.ones(logits.shape[1], dtype=logits.dtype) if weights is None else weights.to(logits.dtype)
    entropies = cross_entropy * (1 - right) ** terms.gamma * counts.reshape(-1, *[1] * (logits.ndim - 2))
    loss = terms.entropy * entropies.sum() / weight.sum().clamp(min=1)
    if terms.dice > 0:
        axes = (0, *range(2, logits.ndim))
        probability = torch.sigmoid(logits) * weight
        overlap = (probability * reference).sum(axes)
        too_many, missed = probability.sum(axes) - overlap, (reference * weight).sum(axes) - overlap
        smoothing = DICE_SMOOTHING / 2
        index = (overlap + smoothing) / (overlap + terms.alpha * too_many + terms.beta * missed + smoothing)
        some = ((reference * weight).sum(axes) > 0) * counts
        loss = loss + terms.dice * (some * (1 - index)).sum() / some.sum().clamp(min=SMALL)
    return loss
