"""A network's last 1x1 convolution (the head), applied outside the network.

It is linear: a weighted mean of logits is the head of the weighted mean of the features. With fewer features than
structures, sums over overlapping patches are smaller, and the head is computed once per voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open

from tomoseg.errors import ModelError
from tomoseg.models.folder import WEIGHTS, Model


@dataclass(frozen=True)
class Head:
    """A last 1x1 convolution.

    Attributes:
        weights: Weight of each feature for each structure.
        bias: Bias of each structure.

    Example:
        >>> head = Head(np.array([[1, 0], [1, 1]], np.float32), np.array([0, 5], np.float32))
        >>> head(np.array([[[2]], [[3]]], np.float32)).ravel().tolist()
        [2.0, 10.0]
    """

    weights: Float32[np.ndarray, "c f"]
    bias: Float32[np.ndarray, "c"]

    def __call__(self, features: Float32[np.ndarray, "f x y"]) -> Float32[np.ndarray, "c x y"]:
        """Compute logits, structures last in memory.

        Args:
            features: The features of a slice.
        """
        logits = np.moveaxis(features, 0, 2) @ self.weights.T
        logits += self.bias
        return np.moveaxis(logits, 2, 0)


def mean_head(heads: Sequence[Head]) -> Head:
    """Return the head that gives the mean of several networks' logits from their concatenated features.

    Args:
        heads: The heads of each network.
    """
    if len(heads) == 1:
        return heads[0]
    weights = np.concatenate([head.weights for head in heads], axis=1) / np.float32(len(heads))
    return Head(weights, np.stack([head.bias for head in heads]).mean(axis=0, dtype=np.float32))


def head_of(model: Model) -> Head:
    """Return the last 1x1 convolution of a model, read from its folder without PyTorch if it has one.

    Args:
        model: A model with its head, of all or some structures.

    Raises:
        ModelError: If its weights cannot be read.
    """
    if model.folder is None:
        head = model.network.head
        weights, bias = (part.detach().cpu().numpy() for part in (head.weight, head.bias))
        return Head(weights.reshape(weights.shape[:2]).astype(np.float32), bias.astype(np.float32))
    path = model.folder / WEIGHTS
    try:
        with safe_open(path, framework="numpy") as stored:
            weights, bias = stored.get_tensor("head.weight"), stored.get_tensor("head.bias")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: expected the weights of a head, got: {error}; copy the model folder again") from None
    kept = slice(None) if model.channels is None else list(model.channels)
    weights = weights.reshape(weights.shape[:2])[kept]
    return Head(weights.astype(np.float32), bias[kept].astype(np.float32))
