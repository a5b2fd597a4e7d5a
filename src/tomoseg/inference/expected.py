"""The Dice that a prediction may be expected to have, from its own probabilities: which scans to look at first.

Of one model: if its probabilities are right, the share of a mask's voxels that belong to the structure is their mean,
and the voxels missed are the probabilities outside. Of several: the Dice of each one's mask with that of their mean,
since models that disagree cannot all be right. Both promise too much; what they are for is the order of scans.

Source: Roy, A. et al. (2019). Bayesian QuickNAT. NeuroImage 195, 11-22 (agreement of samples as a measure of quality).
"""

from __future__ import annotations

from collections.abc import Sequence

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
        self._sums = torch.zeros((0, 3, len(names)), dtype=torch.float64)

    def add(self, logits: Float[Tensor, "c x y"], members: Sequence[Float[Tensor, "c x y"]] = ()) -> None:
        """Take in the next slice.

        Args:
            logits: That decide.
            members: Of each model, where they are a mean over several.
        """
        mask = (logits > 0).float()
        if len(members) > 1:
            others = [(member > 0).float() for member in members]
        else:
            others = [torch.sigmoid(logits.float() + self._offsets.to(logits.device))]
        sums = [torch.stack([(o * mask).sum((1, 2)), o.sum((1, 2)), mask.sum((1, 2))]) for o in others]
        added = torch.stack(sums).cpu().double()
        self._sums = added if len(self._sums) == 0 else self._sums + added

    def structures(self) -> dict[str, float | None]:
        """Of each structure; None where none of it was found, by no model of several."""
        by_any = self._sums[:, 1:] if len(self._sums) > 1 else self._sums[:, 2:]  # of one model, 1 is probabilities
        found = by_any.flatten(0, 1).any(dim=0).tolist() if len(self._sums) else [False] * len(self.names)
        both, other, mask = self._sums.unbind(1)
        dice = torch.where(other + mask > 0, 2 * both / (other + mask), 1.0).mean(0).tolist()  # none and none agree
        return {name: value if there else None for name, value, there in zip(self.names, dice, found, strict=True)}

    def mean(self) -> float | None:
        """Over the structures that were found; None where there is none."""
        known = [value for value in self.structures().values() if value is not None]
        return float(np.mean(known)) if known else None
