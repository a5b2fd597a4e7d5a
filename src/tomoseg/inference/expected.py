"""The Dice that a prediction may be expected to have, from its own probabilities: which scans to look at first.

If probabilities are right, the share of a mask's voxels that belong to the structure is their mean, and the voxels
missed are the probabilities outside. Several models, or views of the scan, make them more honest than one.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor


class ExpectedDice:
    """Sums over a scan on the network's grid, slice by slice; nothing else is kept.

    Args:
        names: The structures in channel order.
        offsets: What was subtracted from each structure's logits so that it is decided at 0.

    Example:
        >>> expected = ExpectedDice(("a",), np.zeros(1, np.float32))
        >>> expected.add(torch.logit(torch.tensor([[[0.9, 0.5001, 0.2]]])))
        >>> round(expected.structures()["a"], 3)  # 2 * 1.4 of 1.6 + 2
        0.778
    """

    def __init__(self, names: tuple[str, ...], offsets: Float32[np.ndarray, "c"]) -> None:
        self.names = names
        self._offsets = torch.from_numpy(offsets)[:, None, None]
        self._sums = torch.zeros((3, len(names)), dtype=torch.float64)

    def add(self, logits: Float[Tensor, "c x y"]) -> None:
        """Take in the next slice."""
        probability = torch.sigmoid(logits.float() + self._offsets.to(logits.device))
        mask = (logits > 0).to(probability.dtype)
        sums = torch.stack([(probability * mask).sum((1, 2)), probability.sum((1, 2)), mask.sum((1, 2))])
        self._sums += sums.double().cpu()

    def structures(self) -> dict[str, float | None]:
        """Of each structure; None where none of it was found."""
        both, probable, found = self._sums.tolist()
        return {
            name: 2 * b / (p + f) if f > 0 else None
            for name, b, p, f in zip(self.names, both, probable, found, strict=True)
        }

    def mean(self) -> float | None:
        """Over the structures that were found; None where there is none."""
        known = [value for value in self.structures().values() if value is not None]
        return float(np.mean(known)) if known else None
