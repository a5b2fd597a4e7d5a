"""A model's own rating of a prediction from its probabilities, to rank scans for review.

If probabilities are calibrated, the expected number of true voxels in a mask is their sum inside, and that of missed
voxels their sum outside. For a model with temperatures (`evaluation/temperatures.py`) this gives the expected Dice.
Without temperatures it is the same formula; for several models without, it is the Dice of each model's mask with that
of their mean. Neither of these is calibrated: both lie far above the true Dice, and serve to rank scans only.

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
    """Confidence of a model in its masks of a scan, 0 to 1: a rank among scans; the expected Dice if calibrated.

    Attributes:
        mean: Mean over the structures found; None if none was, or if there is a `reason`.
        structures: Rating of each structure; None if it was not found, or if there is a `reason`.
        found: Number of structures found; missed ones do not count in the mean.
        reason: Why there is no rating, for scans unlike those of training.
        calibrated: Whether it is the expected Dice; otherwise it is far above it.
    """

    mean: float | None
    structures: dict[str, float | None]
    found: int
    reason: str | None = None
    calibrated: bool = False

    def withheld(self, reason: str) -> SelfRating:
        """Return a copy without the rating, for a reason."""
        return SelfRating(None, dict.fromkeys(self.structures), self.found, reason, self.calibrated)


class RatingSums:
    """Accumulates the sums of a rating over a scan on the network's grid, slice by slice.

    Args:
        names: The structures in channel order.
        offsets: Subtracted from each structure's logits before, so that it is decided at 0.
        scales: Factors of logits above and below 0, if the model has temperatures.

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
        """Add the next slice.

        Args:
            logits: Logits that decide.
            members: Logits of each model, where `logits` is a mean over several.
            inside: The masks, where they are not simply the logits above 0.
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
        """Return the rating of the slices added."""
        structures = self._structures()
        known = [value for value in structures.values() if value is not None]
        mean = float(np.mean(known)) if known else None
        return SelfRating(mean, structures, len(known), calibrated=self._scales is not None)

    def _structures(self) -> dict[str, float | None]:
        """Return the rating of each structure; None if no model found any of it."""
        if len(self._sums) == 0:
            return dict.fromkeys(self.names)
        by_any = self._sums[:, 1:] if len(self._sums) > 1 else self._sums[:, 2:]  # of one model, 1 is probabilities
        found: list[bool] = np.any(by_any, axis=(0, 1)).tolist()
        both, other, mask = np.moveaxis(self._sums, 1, 0)
        whole = other + mask
        dice = np.where(whole > 0, 2 * both / np.where(whole > 0, whole, 1), 1.0)  # both empty: agreement
        means = dice.mean(axis=0).tolist()
        return {name: value if there else None for name, value, there in zip(self.names, means, found, strict=True)}


def _probabilities(logits: Float32[np.ndarray, "c x y"]) -> Float32[np.ndarray, "c x y"]:
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))  # exp overflows beyond


def _sums(other: np.ndarray, mask: np.ndarray) -> Float64[np.ndarray, "3 c"]:
    """Return three sums per structure: of `other` inside the mask, of all of `other`, and of the mask."""
    both = np.where(mask, other, 0)
    return np.stack([part.sum(axis=(1, 2), dtype=np.float64) for part in (both, other, mask)])
