"""A model's own rating of a prediction, from its probabilities: which scans to look at first.

If probabilities are right, the share of a mask's voxels that belong to the structure is their mean, and the voxels
missed are the probabilities outside. Of a model with temperatures (`evaluation/temperatures.py`) that is the Dice to be
expected. Of one without them it is the same sum, of several without them the Dice of each one's mask with that of their
mean, since models that disagree cannot all be right: neither is calibrated, both lie far above the true Dice, and what
they are for is the order of scans.

Source: Roy, A. et al. (2019). Bayesian QuickNAT. NeuroImage 195, 11-22 (agreement of samples as a measure of quality).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

UNLIKE = "unlike the training scans"


@dataclass(frozen=True)
class SelfRating:
    """How sure a model is of its masks of a scan, 0 to 1: a rank among scans, and of a calibrated model a Dice.

    Attributes:
        mean: Over the structures that were found; None where none was, or where there is a `reason`.
        structures: Of each; None where it was not found, or where there is a `reason`.
        found: Structures that were found; one that was missed is in no mean.
        reason: Why there is no rating: a model knows nothing of scans unlike those of its training.
        calibrated: It is the Dice to be expected; else it is far above it.
    """

    mean: float | None
    structures: dict[str, float | None]
    found: int
    reason: str | None = None
    calibrated: bool = False

    def withheld(self, reason: str) -> SelfRating:
        """Without the rating, and why."""
        return SelfRating(None, dict.fromkeys(self.structures), self.found, reason, self.calibrated)


class RatingSums:
    """Sums over a scan on the network's grid, slice by slice; nothing else is kept.

    Args:
        names: The structures in channel order.
        offsets: What was subtracted from each structure's logits so that it is decided at 0.
        scales: What logits are multiplied with, above and below 0, where the model has temperatures.

    Example:
        >>> sums = RatingSums(("a",), np.zeros(1, np.float32))
        >>> odds = np.array([[[0.9 / 0.1, 0.5001 / 0.4999, 0.2 / 0.8]]])
        >>> sums.add(np.log(odds).astype(np.float32))
        >>> round(sums.rating().structures["a"], 3)  # 2 * 1.4 of 1.6 + 2
        0.778
    """

    def __init__(
        self,
        names: tuple[str, ...],
        offsets: Float32[np.ndarray, "c"],
        scales: Float32[np.ndarray, "c 2"] | None = None,
    ) -> None:
        self.names = names
        self._scales = None if scales is None else scales[:, :, None, None]
        self._offsets = offsets[:, None, None]
        self._sums = np.zeros((0, 3, len(names)))

    def add(
        self,
        logits: Float32[np.ndarray, "c x y"],
        members: Sequence[Float32[np.ndarray, "c x y"]] = (),
        inside: Bool[np.ndarray, "c x y"] | None = None,
    ) -> None:
        """Take in the next slice.

        Args:
            logits: That decide.
            members: The members of each model, where they are a mean over several.
            inside: The masks, where they are not wherever a logit is above 0.
        """
        mask = logits > 0 if inside is None else inside
        if self._scales is not None:
            given = logits + self._offsets
            scaled = given * np.where(given > 0, self._scales[:, 0], self._scales[:, 1])
            sums = [_sums(_probabilities(scaled), mask)]
        elif len(members) > 1:
            sums = [_sums(member > 0, mask) for member in members]
        else:
            sums = [_sums(_probabilities(logits + self._offsets), mask)]
        added = np.stack(sums)
        self._sums = added if len(self._sums) == 0 else self._sums + added

    def rating(self) -> SelfRating:
        """Of what was taken in."""
        structures = self._structures()
        known = [value for value in structures.values() if value is not None]
        mean = float(np.mean(known)) if known else None
        return SelfRating(mean, structures, len(known), calibrated=self._scales is not None)

    def _structures(self) -> dict[str, float | None]:
        """Of each structure; None where none of it was found, by no model of several."""
        if len(self._sums) == 0:
            return dict.fromkeys(self.names)
        by_any = self._sums[:, 1:] if len(self._sums) > 1 else self._sums[:, 2:]  # of one model, 1 is probabilities
        found: list[bool] = np.any(by_any, axis=(0, 1)).tolist()
        both, other, mask = np.moveaxis(self._sums, 1, 0)
        whole = other + mask
        dice = np.where(whole > 0, 2 * both / np.where(whole > 0, whole, 1), 1.0)  # none and none agree
        means = dice.mean(axis=0).tolist()
        return {name: value if there else None for name, value, there in zip(self.names, means, found, strict=True)}


def _probabilities(logits: Float32[np.ndarray, "c x y"]) -> Float32[np.ndarray, "c x y"]:
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))  # beyond that exp has no number


def _sums(other: np.ndarray, mask: np.ndarray) -> Float64[np.ndarray, "3 c"]:
    """Of each structure: what both say, what the other says, what the mask says."""
    both = np.where(mask, other, 0)
    return np.stack([part.sum(axis=(1, 2), dtype=np.float64) for part in (both, other, mask)])
