"""How far from a structure's boundary what is predicted lies."""

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
    """Probability times signed distance from the reference's boundary, averaged over the annotated voxels.

    It falls as probability moves from far outside to deep inside, by how far it moves, and looks at every structure's
    surface rather than at its volume. It has a minimum where nothing is predicted outside, so that alone it does not
    train; beside cross-entropy and Dice it does. Of a slice or block without the structure it says nothing.

    Args:
        logits: The logits of each structure.
        masks: The reference.
        annotated: Which structures are annotated in which sample.
        config: `boundary_weight`, which the result is multiplied by.
        pos_weight: Not used: it belongs to the cross-entropy.
        weights: How much each structure counts, with a mean of 1.

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
    """Distance of each voxel from a structure, in voxels of the network's grid; below 0 inside.

    Outside it is the distance to the nearest voxel of the structure; inside it is one less than the distance to the
    nearest one outside, negated: voxels at the surface have 0. Voxels that are not cubes count as if they were.

    Args:
        mask: A slice or block.

    Returns:
        0 everywhere if there is no boundary in it.

    Example:
        >>> signed_distance(np.array([False, True, True, True, False, False])).tolist()
        [1.0, 0.0, -1.0, 0.0, 1.0, 2.0]
    """
    if mask.all() or not mask.any():
        return np.zeros(mask.shape, np.float32)
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    return np.where(mask, 1 - inside, outside).astype(np.float32)
