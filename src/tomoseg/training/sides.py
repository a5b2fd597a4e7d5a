"""Left-right mirror images to train on, in which every left structure is the right one: twice the patients."""

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
"""Of slices that are mirrored where nothing else is asked for."""


@dataclass(frozen=True)
class Sides:
    """Which slices are mirrored, and how.

    Attributes:
        order: For each channel the channel of its counterpart (`LabelSet.exchanged`).
        axis: Where left and right lie among the axes of the view: 0 or 1 in a slice, 2 along the slices.
        share: The share of slices that are mirrored.
    """

    order: tuple[int, ...]
    axis: int
    share: float = USUAL_SHARE

    def drawn(self, key: tuple[int, int, int]) -> bool:
        """Whether the slice of this key is mirrored."""
        return bool(np.random.default_rng((*key, 5)).random() < self.share)

    def position(self, mm: float) -> float:
        """Where the slice lies in the mirror image, from the body's middle."""
        return -mm if self.axis == 2 else mm

    def exchange(
        self, hu: Int16[np.ndarray, "s *xyz"], packed: UInt8[np.ndarray, "b *xyz"], annotated: Bool[np.ndarray, "c"]
    ) -> tuple[Int16[np.ndarray, "s *xyz"], UInt8[np.ndarray, "b *xyz"], Bool[np.ndarray, "c"]]:
        """A slice among its neighbours, or a block, its masks, and what is annotated: each of the mirror image."""
        masks = reorder(packed, self.order)
        if self.axis < packed.ndim - 1:
            hu, masks = np.flip(hu, 1 + self.axis), np.flip(masks, 1 + self.axis)
        else:
            hu = np.flip(hu, 0)  # the slices lie between left and right: the neighbours change places
        return hu.copy(), masks.copy(), annotated[list(self.order)]


def sides_of(labels: LabelSet, view: str, config: TrainConfig) -> Sides | None:
    """What is mirrored in a training; None for nothing.

    Where nothing is asked for, only pairs are mirrored: a structure without a counterpart, such as the esophagus,
    mostly lies on a side all the same, and is found worse by a network that has seen it on either.

    Args:
        labels: The structures.
        view: The view of the network.
        config: `augmentation.exchange_sides`.

    Raises:
        ConfigError: If mirror images are asked for, and a structure on a side has no counterpart.
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
