"""The Lovász hinge: a convex surrogate of the Jaccard index."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomoseg.loss_kinds import LossConfig


def lovasz_hinge(
    logits: Float[Tensor, "n c *xyz"],
    masks: Bool[Tensor, "n c *xyz"],
    annotated: Bool[Tensor, "n c"],
    config: LossConfig,
    pos_weight: Float[Tensor, "c"] | None = None,
    weights: Float[Tensor, "c"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean over structures of one minus their Jaccard index, extended from masks to logits.

    The voxels of all samples in which a structure is annotated count together. For a structure that occurs in none of
    them, it is the largest margin by which a voxel is taken for it.

    Args:
        logits: The logits of each structure.
        masks: The reference.
        annotated: Whether each structure is annotated in each sample.
        config: Unused.
        pos_weight: Unused; it belongs to the cross-entropy.
        weights: Weight of each structure, with a mean of 1.

    Source: Berman, M. et al. (2018). The Lovász-softmax loss. CVPR, 4413-4421, equation 9 and algorithm 1.
    """
    counts = annotated.any(dim=0).to(logits) if weights is None else annotated.any(dim=0) * weights.to(logits)
    if not counts.any():
        return (logits * 0).sum()
    total = logits.new_zeros(())
    for structure in counts.nonzero().flatten().tolist():
        samples = annotated[:, structure]
        one = _of_one(logits[samples, structure].flatten(), masks[samples, structure].flatten())
        total = total + counts[structure] * one
    return total / counts.sum()


def _of_one(logits: Float[Tensor, "p"], mask: Bool[Tensor, "p"]) -> Float[Tensor, ""]:
    """Return the Lovász extension at the hinge errors: each, largest first, times its increment of the Jaccard loss."""
    errors = 1 - torch.where(mask, logits, -logits)
    wrong = errors > 0  # the others contribute nothing
    errors, order = errors[wrong].sort(descending=True)
    missed = mask[wrong][order].cumsum(0)
    too_many = torch.arange(1, len(order) + 1, device=order.device) - missed
    true = mask.sum()
    jaccard_loss = 1 - (true - missed) / (true + too_many).to(logits)
    before = torch.cat([jaccard_loss.new_zeros(1), jaccard_loss])[:-1]
    return errors @ (jaccard_loss - before)
