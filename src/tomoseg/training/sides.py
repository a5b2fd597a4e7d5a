"""Augmentation by left-right mirror images, in which left and right structures swap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int16, UInt8

from tomoseg.config import TrainConfig
from tomoseg.errors import ConfigError, LabelError
from tomoseg.labels import LabelSet
from tomoseg.masks import reorder
from tomoseg.views import left_right_axis

USUAL_SHARE = 0.5
"""Fraction of slices that are mirrored by default."""


@dataclass(frozen=True)
class Sides:
    """Mirroring of training slices.

    Attributes:
        order: Channel of each channel's left-right counterpart (`LabelSet.exchanged`).
        axis: Left-right axis in the view: 0 or 1 in a slice, 2 across the slices.
        share: Fraction of slices that are mirrored.
    """

    order: tuple[int, ...]
    axis: int
    share: float = USUAL_SHARE

    def drawn(self, key: tuple[int, int, int]) -> bool:
        """Return True if the slice of a key is mirrored."""
        return bool(np.random.default_rng((*key, 5)).random() < self.share)

    def position(self, mm: float) -> float:
        """Return a slice's position in the mirror image, in mm from the body's middle."""
        return -mm if self.axis == 2 else mm

    def exchange(
        self, hu: Int16[np.ndarray, "s *xyz"], packed: UInt8[np.ndarray, "b *xyz"], annotated: Bool[np.ndarray, "c"]
    ) -> tuple[Int16[np.ndarray, "s *xyz"], UInt8[np.ndarray, "b *xyz"], Bool[np.ndarray, "c"]]:
        """Mirror a slice with its neighbours, or a block, its packed masks, and its annotated structures."""
        masks = reorder(packed, self.order)
        if self.axis < packed.ndim - 1:
            hu, masks = np.flip(hu, 1 + self.axis), np.flip(masks, 1 + self.axis)
        else:
            hu = np.flip(hu, 0)  # sagittal: the neighbours swap
        return hu.copy(), masks.copy(), annotated[list(self.order)]


def sides_of(labels: LabelSet, view: str, config: TrainConfig) -> Sides | None:
    """Return the mirroring of a training; None if nothing is mirrored.

    By default mirroring is on only if all structures come in pairs: a structure without a counterpart, such as the
    oesophagus, mostly lies on one side all the same, and is found worse by a network that has seen it on either.

    Args:
        labels: The structures.
        view: The view of the network.
        config: `augmentation.exchange_sides`.

    Raises:
        ConfigError: If mirror images are configured, and a structure on a side has no counterpart.
    """
    share = config.augmentation.exchange_sides
    if not config.augmentation.enabled or share == 0:
        return None
    try:
        order = labels.exchanged()
    except LabelError as error:
        if share is None:
            return None
        raise ConfigError(f"augmentation.exchange_sides: {error}") from error
    if share is None and any(channel == other for channel, other in enumerate(order)):
        return None
    return Sides(order, left_right_axis(view), USUAL_SHARE if share is None else share)
