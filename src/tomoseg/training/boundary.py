"""The boundary loss: distance of predictions from a structure's boundary."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from tomoseg.loss_kinds import LossConfig


def boundary_loss(
    logits: Float[Tensor, "n c *xyz"],
    masks: Bool[Tensor, "n c *xyz"],
    annotated: Bool[Tensor, "n c"],
    config: LossConfig,
    pos_weight: Float[Tensor, "c"] | None = None,
    weights: Float[Tensor, "c"] | None = None,
) -> Float[Tensor, ""]:
    """Return the probability times the signed distance from the reference's boundary, averaged over annotated voxels.

    It falls as probability moves from far outside to deep inside, in proportion to the distance. It is only useful
    beside cross-entropy and Dice. Slices or blocks without a structure do not contribute to it.

    Args:
        logits: The logits of each structure.
        masks: The reference.
        annotated: Whether each structure is annotated in each sample.
        config: Its `boundary_weight` scales the result.
        pos_weight: Unused; it belongs to the cross-entropy.
        weights: Weight of each structure, with a mean of 1.

    Source: Kervadec, H. et al. (2021). Boundary loss for highly unbalanced segmentation. Medical Image Analysis 67,
    101851, equation 5.
    """
    sample, structure = (annotated & masks.flatten(2).any(2)).nonzero(as_tuple=True)
    there = masks[sample, structure].cpu().numpy()
    distances = [torch.from_numpy(signed_distance(mask)) for mask in there]
    if not distances:
        return (logits * 0).sum()
    probability = logits[sample, structure].sigmoid()
    each = (probability * torch.stack(distances).to(probability)).flatten(1).sum(1)
    if weights is not None:
        each = each * weights[structure].to(each)
    voxels = annotated.sum() * logits[0, 0].numel()
    return config.boundary_weight * each.sum() / voxels


def signed_distance(mask: Bool[np.ndarray, "*xyz"]) -> Float32[np.ndarray, "*xyz"]:
    """Return the distance of each voxel from a structure, in voxels of the network's grid; negative inside.

    Outside it is the distance to the nearest voxel of the structure; inside it is one less than the distance to the
    nearest one outside, negated: voxels at the surface have 0. Anisotropic voxels count as cubes.

    Args:
        mask: A slice or block.

    Returns:
        The distances; 0 everywhere if there is no boundary.

    Example:
        >>> signed_distance(np.array([False, True, True, True, False, False])).tolist()
        [1.0, 0.0, -1.0, 0.0, 1.0, 2.0]
    """
    if mask.all() or not mask.any():
        return np.zeros(mask.shape, np.float32)
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    return np.where(mask, 1 - inside, outside).astype(np.float32)
